// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace core_ha::kube {

/// Names one object of the API; `ns` is empty for a cluster-scoped kind, `name` for a collection.
struct ObjectRef {
  std::string api_version;  ///< `v1`, `apps/v1`
  std::string kind;
  std::string ns;
  std::string name;

  bool operator==(const ObjectRef&) const = default;
  auto operator<=>(const ObjectRef&) const = default;
};

/// `apps/v1 Deployment kube-system/coredns`: how results and messages name an object.
std::string to_string(const ObjectRef& ref);

/// The REST path of the object, or of the collection when `name` is empty; `subresource` without slash.
std::string rest_path(const ObjectRef& ref, std::string_view subresource = {});

/// The plural, lower-case resource name of a kind, as RESTMapper guesses it (`EndpointSlice` → `endpointslices`).
std::string resource_of(std::string_view kind);

/// Reads apiVersion, kind, metadata.namespace and metadata.name of an object; what is missing stays empty.
ObjectRef ref_of(const Json& object);

/// An object's metadata.uid; empty where it has none.
std::string uid_of(const Json& object);

}  // namespace core_ha::kube
