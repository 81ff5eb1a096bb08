// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/corefile.h"

#include <doctest/doctest.h>

using namespace core_ha;
using namespace core_ha::ha;

namespace {

const std::string shipped_corefile = R"(.:53 {
    errors
    health
    # of the cluster's own
    kubernetes cluster.local in-addr.arpa ip6.arpa {
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
    }
    hosts /etc/coredns/NodeHosts {
      ttl 60
    }
    prometheus :9153
    import /etc/coredns/custom/*.override
    forward . /etc/resolv.conf
}
import /etc/coredns/custom/*.server
)";

std::string fault_of(const std::string& corefile) {
  const auto values = chart_values_of(corefile);
  REQUIRE_FALSE(values);
  CHECK(values.error().status == ExitStatus::unsafe);
  CHECK(values.error().message.ends_with("Give coredns_values.servers."));
  return values.error().message;
}

bool says(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("corefile: what k3s ships, as the chart's values") {
  const auto values = chart_values_of(shipped_corefile);
  REQUIRE(values);
  CHECK((*values)["extraConfig"] == Json{{"import", {{"parameters", "/etc/coredns/custom/*.server"}}}});
  REQUIRE((*values)["servers"].size() == 1);
  const Json server = (*values)["servers"][0];
  CHECK(server["zones"] == Json::array({{{"zone", "."}}}));
  CHECK(server["port"] == 53);
  const Json& plugins = server["plugins"];
  REQUIRE(plugins.size() == 7);
  CHECK(plugins[0] == Json{{"name", "errors"}});
  CHECK(plugins[2] == Json{{"name", "kubernetes"},
                           {"parameters", "cluster.local in-addr.arpa ip6.arpa"},
                           {"configBlock", "pods insecure\nfallthrough in-addr.arpa ip6.arpa"}});
  CHECK(plugins[4] == Json{{"name", "prometheus"}, {"parameters", ":9153"}});
  CHECK(plugins[5] == Json{{"name", "import"}, {"parameters", "/etc/coredns/custom/*.override"}});
}

TEST_CASE("corefile: several servers, zones and ports") {
  const auto values = chart_values_of("example.org, example.net {\n  errors\n}\n:5353 {\n  log\n}\r\n");
  REQUIRE(values);
  CHECK_FALSE(values->contains("extraConfig"));
  CHECK((*values)["servers"][0]["zones"] == Json::array({{{"zone", "example.org"}}, {{"zone", "example.net"}}}));
  CHECK((*values)["servers"][0]["port"] == 53);
  CHECK((*values)["servers"][1]["zones"] == Json::array({{{"zone", "."}}}));
  CHECK((*values)["servers"][1]["port"] == 5353);
}

TEST_CASE("corefile: what the values have no place for is told with its line") {
  CHECK(says(fault_of(".:53 {\n  view a {\n    b {\n    }\n  }\n}\n"), "a block in a plugin's, at line 3 (`b {`)"));
  CHECK(says(fault_of("(shared) {\n}\n"), "it has a snippet, at line 1"));
  CHECK(says(fault_of("tls://.:853 {\n}\n"), "a server has a scheme"));
  CHECK(says(fault_of("a:53 b:54 {\n}\n"), "two ports"));
  CHECK(says(fault_of("a:54 b:54 {\n}\n"), "several zones"));
  CHECK(says(fault_of(".:dns {\n}\n"), "no number"));
  CHECK(says(fault_of(".:53 {\n"), "its last block is not closed"));
  CHECK(says(fault_of(".:53 {\n}\n}\n"), "a block ends that never began, at line 3"));
  CHECK(says(fault_of("errors\n"), "imports alone, at line 1"));
  CHECK(says(fault_of(".:53 {\n {\n }\n}\n"), "a block has no name"));
  CHECK(says(fault_of("import a\nimport b\n.:53 {\n}\n"), "it imports twice"));
  CHECK(says(fault_of(""), "it has no server"));
}

TEST_CASE("corefile: lameduck, and another place of a file") {
  Json servers = (*chart_values_of(shipped_corefile))["servers"];
  add_lameduck(servers, 5);
  replace_path(servers, "/etc/coredns/NodeHosts", "/etc/coredns/k3s/NodeHosts");
  CHECK(servers[0]["plugins"][1] == Json{{"name", "health"}, {"configBlock", "lameduck 5s"}});
  CHECK(servers[0]["plugins"][3]["parameters"] == "/etc/coredns/k3s/NodeHosts");
  Json own = (*chart_values_of(".:53 {\n  health {\n    lameduck 9s\n  }\n}\n"))["servers"];
  add_lameduck(own, 5);
  CHECK(own[0]["plugins"][0]["configBlock"] == "lameduck 9s");
}
