// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "kube/object_ref.h"

namespace core_ha::ha {

/// A Deployment of the user's that is to have several replicas, too.
struct ExtraDeployment {
  std::string ns;
  std::string name;
  std::optional<int> replicas = {};  ///< absent: two where two hosts can run it, or as many as it had

  kube::ObjectRef ref() const { return {"apps/v1", "Deployment", ns, name}; }
  auto operator<=>(const ExtraDeployment&) const = default;
};

std::vector<kube::ObjectRef> refs_of(const std::vector<ExtraDeployment>& extras);

/// What is wrong with the value of the key `extra_deployments`, as the rest of a sentence that begins with that name;
/// nothing: it is right.
std::optional<std::string> fault_of_extras(const Json& value);

/// Such a value as a list in one order, so that the same wish is always the same text; and back.
std::vector<ExtraDeployment> extras_of(const Json& value);
Json to_json(const std::vector<ExtraDeployment>& extras);

/// What the schema says of the value beside its type.
Json extras_schema();

}  // namespace core_ha::ha
