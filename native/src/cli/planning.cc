// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/planning.h"

#include <utility>

#include "cluster/observe.h"
#include "cluster/staged.h"
#include "cluster/usage.h"
#include "ha/state.h"
#include "ha/strategies/absent.h"

namespace core_ha::cli {

Result<Observed> observe_and_plan(kube::Client& client, const ha::Spec& spec, std::optional<std::int64_t> revision,
                                  const ha::OnNodes& on_nodes, const std::string& manifests) {
  auto snapshot = cluster::observe(client, {ha::refs_of(spec.extra_deployments), ha::charts_of(spec)});
  if (!snapshot) return snapshot.error();
  auto more = ha::charts_of(*snapshot);
  std::erase_if(more, [&](const auto& chart) { return snapshot->charts.contains(chart); });
  if (!more.empty())
    if (auto read = cluster::observe_charts(client, *snapshot, more); !read) return read.error();
  Observed observed{.snapshot = std::move(*snapshot), .plan = {}};
  if (!manifests.empty()) {
    observed.snapshot.manifests = cluster::read_staged(manifests);
    observed.snapshot.rivals = cluster::read_rivals(manifests, observed.snapshot.manifests);
  }
  ha::stage_own(observed.snapshot);
  observed.plan = ha::make_plan(spec, observed.snapshot, revision, on_nodes);
  // Each round tells of nodes that were not known, so it ends.
  while (!observed.plan.refusal && !observed.plan.unread.empty()) {
    if (auto read = cluster::observe_usage(client, observed.snapshot, observed.plan.unread); !read) return read.error();
    observed.plan = ha::make_plan(spec, observed.snapshot, revision, on_nodes);
  }
  return observed;
}

}  // namespace core_ha::cli
