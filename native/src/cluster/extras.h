// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "cluster/snapshot.h"
#include "kube/client.h"
#include "kube/object_ref.h"

namespace core_ha::cluster {

/// A list of what belongs to Deployments of the user's, and where in the snapshot it goes.
struct Listing {
  kube::Read read;
  const char* api_version;
  const char* kind;
  Json Snapshot::* list;
};

/// The Deployments that are named, those that carry fields of ours, wherever they are, and budgets of ours for such.
std::vector<Listing> extra_listings(const std::vector<kube::ObjectRef>& extras);

/// Pods and claims of these Deployments, and who else has a say about them.
std::vector<Listing> listings_beside(const std::vector<Json>& deployments);

/// Takes an answer's items, each once however many lists have it, narrowed to what decisions need: what is the user's
/// may hold secrets. Gives those that were not there.
Result<std::vector<Json>> take(Snapshot& snapshot, const Listing& listing, kube::ApiResult<Json>& answer);

}  // namespace core_ha::cluster
