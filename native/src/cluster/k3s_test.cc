// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/k3s.h"

#include <doctest/doctest.h>

using namespace core_ha;
using namespace core_ha::cluster;

namespace {

Json with_annotation(const std::string& text) {
  return {{"metadata", {{"name", "coredns"}, {"annotations", {{"objectset.rio.cattle.io/applied", text}}}}}};
}

/// gzip and base64 of the manifest below it.
constexpr const char* packed =
    "H4sIAAAAAAACAx2LQQrDMAwEvxJ0LpRce+"
    "4X0rsaiyAiy8ISoSHk77W9t53ZvQCNP1Sdi8Jras38eczwmGBnTR29yaScmTQ6zRSYMLCZCxQz9claKiV1"
    "uNvAjdYhPSoGbecotYiwbou1Lw2S8bcoHsiCX+lovlv+GchC8JAAAAA=";
const Json manifest = Json::parse(R"({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "coredns"},
                                      "spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 1}}}})");

Json node(const std::string& name, const std::string& args) {
  Json object = {{"metadata", {{"name", name}, {"annotations", Json::object()}}}};
  if (!args.empty()) object["metadata"]["annotations"]["k3s.io/node-args"] = args;
  return object;
}

}  // namespace

TEST_CASE("k3s: the manifest that it applied is read from the object, packed or plain") {
  const std::string padded = packed;
  CHECK(applied_manifest(with_annotation(padded)) == manifest);
  CHECK(applied_manifest(with_annotation(padded.substr(0, padded.find('=')))) == manifest);  // as k3s writes it
  CHECK(applied_manifest(with_annotation(manifest.dump())) == manifest);
  CHECK_FALSE(applied_manifest(Json{{"metadata", {{"name", "coredns"}}}}));
  for (const char* broken : {"", "H4sIAAAAAAACAx2L", "not base64!", "bm90IGd6aXA=", "{\"a\":", "[1]"}) {
    CAPTURE(broken);
    CHECK_FALSE(applied_manifest(with_annotation(broken)));
  }
}

TEST_CASE("k3s: a field is durable unless the manifest has it otherwise") {
  const FieldPath unavailable{"f:spec", "f:strategy", "f:rollingUpdate", "f:maxUnavailable"};
  const FieldPath surge{"f:spec", "f:strategy", "f:rollingUpdate", "f:maxSurge"};
  CHECK(durability(manifest, surge, 1) == Durability::durable);
  CHECK(durability(manifest, unavailable, 1) == Durability::durable);
  CHECK(durability(manifest, unavailable, 0) == Durability::contested);
  CHECK(durability(std::nullopt, unavailable, 0) == Durability::durable);
}

TEST_CASE("k3s: what its arguments tell") {
  struct Row {
    const char* args;
    bool disabled;
    std::optional<bool> proxy;
  };
  const std::vector<Row> rows{{"", false, std::nullopt},
                              {R"(["server"])", false, true},
                              {R"(["agent"])", false, std::nullopt},
                              {R"(["agent","--kube-proxy-arg","proxy-mode=ipvs"])", false, false},
                              {R"(["server","--disable","coredns"])", true, true},
                              {R"(["server","--disable=traefik,coredns"])", true, true},
                              {R"(["server","--disable","traefik","--disable","coredns"])", true, true},
                              {R"(["server","--disable","coredns2"])", false, true},
                              {R"(["server","--disable-kube-proxy"])", false, false},
                              {R"(["server","--disable-kube-proxy","true"])", false, false},
                              {R"(["server","--disable-kube-proxy","false"])", false, true},
                              {R"(["server","--kube-proxy-arg","proxy-mode=ipvs"])", false, false},
                              {"no list", false, std::nullopt}};
  for (const auto& row : rows) {
    CAPTURE(row.args);
    Snapshot snapshot;
    snapshot.nodes.push_back(node("server-1", row.args));
    CHECK(disabled_on(snapshot, "coredns").size() == (row.disabled ? 1 : 0));
    CHECK(kube_proxy_serves(snapshot) == row.proxy);
  }
}

TEST_CASE("k3s: secrets in its annotations do not get into a snapshot") {
  Json object = node("server-1", R"(["server","--token","hunter2","--agent-token=hunter2","--node-ip","10.0.0.1",
    "--datastore-endpoint","postgres://u:hunter2@db","--tls-san","a"])");
  object["metadata"]["annotations"]["k3s.io/node-env"] = R"({"K3S_TOKEN":"hunter2"})";
  redact_node(object);
  CHECK(object.dump().find("hunter2") == std::string::npos);
  const auto args = node_args(object);
  REQUIRE(args);
  CHECK(args->size() == 10);
  CHECK(args->at(5) == "10.0.0.1");
  CHECK(args->back() == "a");
  Json broken = node("server-2", "hunter2");
  redact_node(broken);
  CHECK(broken.dump().find("hunter2") == std::string::npos);
}

TEST_CASE("k3s: the annotation cuts long strings off, which makes no field contested and no manifest whole") {
  const std::string text(100, 'x');
  const Json cut = {{"data", {{"Corefile", text.substr(0, 64)}}}};
  const FieldPath field{"f:data", "f:Corefile"};
  CHECK(durability(cut, field, text) == Durability::durable);
  CHECK(durability(cut, field, "y" + text) == Durability::contested);
  CHECK_FALSE(whole_applied_manifest(with_annotation(cut.dump())));
  CHECK(whole_applied_manifest(with_annotation(manifest.dump())) == manifest);
}
