// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/staged.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

using namespace core_ha;
using namespace core_ha::cluster;

namespace {

namespace fs = std::filesystem;

/// A server's directory of manifests, gone with the test.
struct Manifests {
  fs::path place = fs::temp_directory_path() / ("core-ha-staged-" + std::to_string(getpid()));

  Manifests() { fs::create_directories(place / "metrics-server"); }
  ~Manifests() { fs::remove_all(place); }

  void write(const char* name, const std::string& text) const { std::ofstream(place / name) << text; }
  std::string read(const char* name) const {
    std::ostringstream text;
    text << std::ifstream(place / name).rdbuf();
    return text.str();
  }
};

const std::set<std::string> both{coredns_manifest, metrics_server_manifest};

}  // namespace

TEST_CASE("staged: the objects of each manifest; what cannot be read is left out") {
  const Manifests manifests;
  CHECK(read_staged(manifests.place) == Json::object());
  manifests.write("coredns.yaml", "kind: A\nmetadata: {name: a}\n---\n---\nkind: B\nmetadata: {name: b}\n");
  manifests.write("metrics-server/metrics-server-deployment.yaml", "kind: [");
  const Json staged = read_staged(manifests.place);
  REQUIRE(staged.size() == 1);
  CHECK(staged["coredns"].size() == 2);
  CHECK(staged["coredns"][1]["kind"] == "B");
}

TEST_CASE("staged: files of somebody's that get into the way of k3s's own") {
  const Manifests manifests;
  manifests.write("coredns.yaml",
                  "kind: Service\napiVersion: v1\nmetadata: {name: kube-dns, namespace: kube-system}\n");
  manifests.write("metrics-server/resource-reader.yaml", "kind: ClusterRole\nmetadata: {name: a}\n");
  const auto rivals = [&] { return read_rivals(manifests.place, read_staged(manifests.place)); };
  CHECK(rivals().empty());
  manifests.write("own.yml", "kind: A\nmetadata: {name: kube-dns}\n---\nkind: [");
  manifests.write("own.txt", manifests.read("coredns.yaml"));
  manifests.write(".own.yaml", manifests.read("coredns.yaml"));
  manifests.write("coredns.yaml.old", manifests.read("coredns.yaml"));
  CHECK(rivals().empty());
  manifests.write("coredns.ha.yaml", "kind: A\nmetadata: {name: a}\n");
  manifests.write("own.JSON", R"({"kind": "List", "items": [
    {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "kube-dns", "namespace": "kube-system"}}]})");
  const Json found = rivals();
  REQUIRE(found.size() == 2);
  CHECK(found[0] == Json{{"metadata", {{"name", "coredns.ha.yaml"}}}, {"manifest", "coredns"}, {"addon", true}});
  CHECK(found[1]["metadata"]["name"] == "own.JSON");
  CHECK(found[1]["object"] == "v1 Service kube-system/kube-dns");
  manifests.write("own.JSON.skip", "");
  manifests.write("metrics-server/coredns.ha.yaml.skip", "");
  CHECK(rivals().empty());
}

TEST_CASE("staged: ours are put beside what is wanted and taken away again, somebody else's stay") {
  const Manifests manifests;
  manifests.write("metrics-server-deployment.yaml.skip", "");  // at top level it counts, too
  const auto first = set_aside(manifests.place, both);
  REQUIRE(first);
  CHECK(*first);
  CHECK(manifests.read("coredns.yaml.skip") == "k3s-core-ha\n");
  CHECK_FALSE(fs::exists(manifests.place / "metrics-server/metrics-server-deployment.yaml.skip"));
  CHECK(set_aside_in(manifests.place) == both);
  CHECK_FALSE(*set_aside(manifests.place, both));
  manifests.write("metrics-server/metrics-server-deployment.yaml.skip", "theirs");
  CHECK(*set_aside(manifests.place, {}));
  CHECK(set_aside_in(manifests.place) == std::set<std::string>{metrics_server_manifest});
  CHECK(fs::exists(manifests.place / "metrics-server/metrics-server-deployment.yaml.skip"));
  CHECK_FALSE(set_aside(manifests.place / "nowhere", both));
}

TEST_CASE("staged: names with commas") {
  CHECK(names_in("").empty());
  CHECK(names_in(",a,,b,") == std::set<std::string>{"a", "b"});
}
