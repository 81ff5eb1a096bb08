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
