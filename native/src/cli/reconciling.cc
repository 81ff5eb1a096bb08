// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/reconciling.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <utility>

#include "base/log.h"
#include "cli/rebalancing.h"
#include "cluster/staged.h"
#include "ha/rebalance.h"
#include "ha/spec.h"
#include "ha/state.h"
#include "ha/strategies/shipped.h"
#include "ha/turn.h"

namespace core_ha::cli {
namespace {

/// The Nodes, with this server's marked, also with what of k3s's manifests is set aside there.
Result<void> mark(kube::Client& client, Json& nodes, const Reconciling& options, const std::set<std::string>& aside) {
  const auto own = std::find_if(nodes.begin(), nodes.end(),
                                [&](const Json& node) { return node["metadata"].value("name", "") == options.node; });
  if (own == nodes.end() || (ha::reconciles(*own, options.version) && ha::aside_marks(*own) == aside)) return {};
  const Json patch = {{"metadata",
                       {{"annotations",
                         {{std::string(ha::reconciles_annotation), options.version},
                          {ha::set_aside_annotation, ha::aside_annotation(aside)}}},
                        {"labels", {{cluster::carries_label, options.version}}}}}};
  auto marked = client.merge_patch({"v1", "Node", "", options.node}, patch, {});
  if (!marked) return marked.error().as_error();
  log::progress(fmt::format("Node {} is marked as one that reconciles", options.node));
  *own = std::move(*marked);
  return {};
}

/// A server comes without its `.skip`, or keeps one that nothing wants any more. Gives what is set aside here now, as
/// far as it is wanted.
Result<std::set<std::string>> keep_aside(const ha::Spec& spec, const Reconciling& options) {
  const auto wanted = ha::wanted_aside(spec);
  if (options.manifests.empty() || !std::filesystem::is_directory(options.manifests)) return std::set<std::string>();
  auto changed = cluster::set_aside(options.manifests, wanted);
  if (!changed) return changed.error();
  if (*changed) log::progress(fmt::format("k3s leaves alone here from now on: {}", fmt::join(wanted, ", ")));
  return wanted;
}

}  // namespace

Result<Reconciled> reconcile(kube::Client& client, const Reconciling& options) {
  auto answers =
      client.read_all({{.path = kube::rest_path(ha::state_object)}, {.path = "/api/v1/nodes", .list = true}});
  Reconciled out;
  if (!answers[0]) {
    if (answers[0].error().not_found()) return out;
    return answers[0].error().as_error();
  }
  if (!answers[1]) return answers[1].error().as_error();
  const auto kept = ha::read_state(*answers[0]);
  if (!kept)
    return Error{ExitStatus::conflict, fmt::format("{} is not as k3s-core-ha writes it: is it somebody else's?",
                                                   kube::to_string(ha::state_object))};
  Json nodes = (*answers[1])["items"];
  const Json document = Json::parse(kept->spec, nullptr, false);
  auto spec = ha::parse_spec(document);
  if (!spec)
    return Error{spec.error().status,
                 fmt::format("The wish that the cluster keeps, of revision {}, cannot be read: {}", kept->revision,
                             document.is_discarded() ? "it is not JSON." : spec.error().message)};
  auto aside = keep_aside(*spec, options);
  if (!aside) return aside.error();
  if (auto marked = mark(client, nodes, options, *aside); !marked) return marked.error();
  out.revision = kept->revision;
  out.turn = ha::whose_turn(nodes);
  if (out.turn.empty()) out.turn = options.node;
  if (out.turn != options.node) return out;

  auto applied = apply_wish(client, *spec,
                            {.revision = kept->revision,
                             .manifests = options.manifests,
                             .dry_run = false,
                             .deadline = options.deadline,
                             .poll = options.poll});
  if (!applied) return applied.error();
  out.applied = std::move(*applied);
  const bool idle = !out.applied->acted.error && !out.applied->acted.changed();
  if (idle && ha::choose_move(out.applied->snapshot).move) {
    auto moved = rebalance(client, {.deadline = options.deadline, .wait_timeout = spec->wait_timeout});
    if (!moved) return moved.error();
    if (moved->changed) out.moved = moved->words;
  }
  return out;
}

}  // namespace core_ha::cli
