// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/own_manifest.h"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "ha/spec.h"

using namespace core_ha;
using namespace core_ha::ha;

namespace {

const Json deployment = Json::parse(R"({
  "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "coredns", "namespace": "kube-system"},
  "spec": {"template": {"spec": {"containers": [
    {"name": "coredns", "resources": {"requests": {"cpu": "0.2"}}}]}}}})");
const Json config = Json::parse(R"({
  "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "coredns", "namespace": "kube-system"},
  "data": {"Corefile": ".:53 {\n    health\n}\n"}})");

std::string said(const Json& objects) {
  const auto spec = parse_spec({{"coredns_manifest", objects}});
  REQUIRE_FALSE(spec);
  CHECK(spec.error().status == ExitStatus::usage);
  return spec.error().message;
}

std::string said_of(const std::function<void(Json&)>& change, Json object = deployment) {
  change(object);
  return said(Json::array({object}));
}

}  // namespace

TEST_CASE("own manifest: what cannot be applied is one sentence that names the place") {
  CHECK(said("x") == R"(coredns_manifest is "x"; allowed is a list of objects.)");
  CHECK(said({1}) == "coredns_manifest[0] is 1; allowed is an object with apiVersion, kind and metadata.name.");
  CHECK(said(Json::array({config, config})) ==
        "coredns_manifest[1] is v1 ConfigMap kube-system/coredns a second time.");
  const std::vector<std::pair<std::string, std::string>> given{
      {"/status", ".status is given, which a server adds; leave it out."},
      {"/metadata/managedFields", ".metadata.managedFields is given, which a server adds; leave it out."},
      {"/metadata/uid", ".metadata.uid is given, which a server adds; leave it out."},
      {"/spec/replicas", ".spec.replicas is given, for which there is a key of its own; leave it out."},
      {"/spec/template/spec/containers",
       ".spec.template.spec.containers is missing; a Deployment has at least one container."},
      {"/spec/template/spec/containers/0",
       ".spec.template.spec.containers[0] is {}; allowed is a container with a name."},
      {"/spec/template/spec/containers/0/resources/limits",
       ".spec.template.spec.containers[0].resources.limits is {}; allowed is a mapping of resources to quantities."}};
  for (const auto& [path, words] : given) {
    CAPTURE(path);
    const bool emptied = path.ends_with("containers") || path.ends_with("0");
    const Json value = path.ends_with("limits") ? Json("x") : emptied ? Json::array() : Json::object();
    const std::string found = said_of([&](Json& object) { object[Json::json_pointer(path)] = value; });
    const std::size_t brace = words.find("{}");
    CHECK(found.starts_with("coredns_manifest[0]" + words.substr(0, brace)));
    if (brace != std::string::npos) CHECK(found.ends_with(words.substr(brace + 2)));
  }
  CHECK(said_of([](Json& object) { object["data"]["NodeHosts"] = ""; }, config) ==
        "coredns_manifest[0].data.NodeHosts is given, which k3s keeps; leave it out.");
}

TEST_CASE("own manifest: the same wish is the same text, however its quantities are written") {
  const auto spec = parse_spec({{"coredns_manifest", Json::array({deployment, config})}});
  REQUIRE(spec);
  CHECK(spec->coredns_manifest[0]["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] ==
        "200m");
  CHECK(spec->coredns_manifest[1] == config);
  const auto again = parse_spec(to_json(*spec));
  REQUIRE(again);
  CHECK(to_json(*again) == to_json(*spec));
}
