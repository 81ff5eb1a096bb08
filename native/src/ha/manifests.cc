// SPDX-License-Identifier: GPL-3.0-or-later
//
// Some of the objects are not ours, and we only lay fields over them: k3s's own, and Deployments of the user's. A
// GitOps tool, or `kubectl delete -f`, takes what is in a manifest for its own and deletes it whole, and cluster DNS
// with it; k3s brings it back at the next start of a server and no sooner. Argo CD, Flux and Helm read annotations that
// forbid it. kubectl reads none. So the manifests bring a guard: an admission policy by which the API server itself
// refuses to delete what carries our annotation. k3s's own deploy controller, which deletes the objects for `--disable
// coredns`, is let through. The objects come first and the guard last: `kubectl delete -f` goes in that order, finds
// the first two refused, and takes all that is ours away. What of ours serves while k3s's own Deployment has no
// replicas is kept like them.
#include "ha/manifests.h"

#include <algorithm>
#include <set>
#include <string>

#include "cluster/managed_fields.h"
#include "ha/planner.h"
#include "ha/state.h"
#include "ha/strategies/coredns_view.h"
#include "ha/strategies/local_path.h"
#include "ha/strategies/own_chart.h"

namespace core_ha::ha {

namespace {

constexpr const char* guard_name = "k3s-core-ha-keep";

/// What keeps tools from deleting an object that they only lay fields over.
Json keeping_annotations() {
  return {{keep_annotation, "true"},
          {"argocd.argoproj.io/sync-options", "ServerSideApply=true,Prune=false,Delete=false"},
          {"kustomize.toolkit.fluxcd.io/prune", "disabled"},
          {"kustomize.toolkit.fluxcd.io/ssa", "Merge"},
          {"helm.sh/resource-policy", "keep"}};
}

bool is_of(const OwnChart& own, const kube::ObjectRef& ref) {
  return ref == own.chart.chart() || ref == own.chart.config();
}

/// What is ours and serves while k3s's own Deployment has no replicas.
bool serves_instead(const kube::ObjectRef& ref) {
  return ref == coredns_daemonset || ref == local_path_standby || ref == local_path_role ||
         ref == local_path_role_binding || is_of(coredns_chart, ref) || is_of(metrics_server_chart, ref) ||
         is_of(local_path_chart, ref);
}

Json guard_head(const char* kind) {
  return {{"apiVersion", "admissionregistration.k8s.io/v1"},
          {"kind", kind},
          {"metadata", {{"name", guard_name}, {"labels", own_labels("keep")}}}};
}

Json rule(const char* group, const char* resource) {
  return {{"apiGroups", {group}}, {"apiVersions", {"v1"}}, {"operations", {"DELETE"}}, {"resources", {resource}}};
}

Json guard(const std::set<std::string>& namespaces) {
  Json policy = guard_head("ValidatingAdmissionPolicy");
  policy["spec"] = {
      {"failurePolicy", "Ignore"},
      {"matchConstraints",
       {{"namespaceSelector",
         {{"matchExpressions",
           Json::array({{{"key", "kubernetes.io/metadata.name"}, {"operator", "In"}, {"values", namespaces}}})}}},
        {"resourceRules",
         Json::array({rule("apps", "deployments"), rule("apps", "daemonsets"), rule("", "services"),
                      rule("", "configmaps"), rule("", "serviceaccounts"),
                      rule("rbac.authorization.k8s.io", "clusterroles"),
                      rule("rbac.authorization.k8s.io", "clusterrolebindings"),
                      rule("rbac.authorization.k8s.io", "roles"), rule("rbac.authorization.k8s.io", "rolebindings"),
                      rule("apiregistration.k8s.io", "apiservices"), rule("storage.k8s.io", "storageclasses"),
                      rule("helm.cattle.io", "helmchartconfigs"), rule("helm.cattle.io", "helmcharts")})}}},
      {"matchConditions",
       Json::array({{{"name", "kept"},
                     {"expression", std::string("has(oldObject.metadata.annotations) && '") + keep_annotation +
                                        "' in oldObject.metadata.annotations"}},
                    {{"name", "not-by-k3s"}, {"expression", "!request.userInfo.username.startsWith('system:k3s-')"}}})},
      {"validations",
       Json::array({{{"expression", "false"},
                     {"message", std::string("the cluster needs this object: k3s-core-ha only lays fields over it, or "
                                             "it serves cluster DNS; to delete it all the same, remove its "
                                             "annotation ") +
                                     keep_annotation}}})}};
  return policy;
}

Json guard_binding() {
  Json binding = guard_head("ValidatingAdmissionPolicyBinding");
  binding["spec"] = {{"policyName", guard_name}, {"validationActions", {"Deny"}}};
  return binding;
}

}  // namespace

std::vector<Json> manifests(const Plan& plan) {
  std::vector<Json> kept;
  std::vector<Json> rest;
  std::set<std::string> namespaces;
  for (Json body : plan.wished) {
    const auto ref = kube::ref_of(body);
    if (plan.not_in_manifests.contains(ref)) continue;
    const bool ours = body["metadata"].value("labels", Json::object()).contains(cluster::component_label);
    if (!ours) {
      const auto count = plan.counts.find(ref);
      if (cluster::fields_in(body).empty() && count == plan.counts.end()) continue;  // nothing of it is wished
      // Under an autoscaler the count is its own, also where earlier manifests held it; a fixed one has no other place
      // here.
      if (body.contains("spec")) body["spec"].erase("replicas");
      if (count != plan.counts.end()) body["spec"]["replicas"] = count->second;
    }
    const bool keep = !ours || serves_instead(ref);
    if (keep) {
      body["metadata"]["annotations"].update(keeping_annotations());
      if (!ref.ns.empty()) namespaces.insert(ref.ns);
    }
    (keep ? kept : rest).push_back(std::move(body));
  }
  const bool guarded = !kept.empty();
  const bool nothing =
      std::all_of(rest.begin(), rest.end(), [](const Json& object) { return kube::ref_of(object) == state_object; });
  if (!guarded && nothing) return {};
  std::vector<Json> all = std::move(kept);
  all.insert(all.end(), rest.begin(), rest.end());
  if (!guarded) return all;
  all.push_back(guard(namespaces));
  all.push_back(guard_binding());
  return all;
}

}  // namespace core_ha::ha
