// SPDX-License-Identifier: GPL-3.0-or-later
#include "report/textfile.h"

#include <doctest/doctest.h>

#include <string>

using namespace core_ha;

TEST_CASE("textfile: how a look ended and how the components stand, each metric with its help and type") {
  const std::string text =
      report::textfile({.exit = ExitStatus::unsafe,
                        .finished = std::chrono::seconds(1780000000),
                        .changed = true,
                        .turn = true,
                        .revision = 3,
                        .components = {{"coredns", {{"strategy", "autoscaling"}, {"replicas", 3}, {"ready", 2}}},
                                       {"metrics_server", {{"strategy", nullptr}, {"replicas", 0}, {"ready", 0}}}}});
  for (const char* line :
       {"k3s_core_ha_reconcile_exit_status 4\n", "k3s_core_ha_reconcile_timestamp_seconds 1780000000\n",
        "k3s_core_ha_reconcile_turn 1\n", "k3s_core_ha_reconcile_changed 1\n", "k3s_core_ha_wish_revision 3\n",
        "k3s_core_ha_replicas{component=\"coredns\"} 3\n", "k3s_core_ha_ready_replicas{component=\"coredns\"} 2\n",
        "k3s_core_ha_replicas{component=\"metrics_server\"} 0\n"}) {
    CAPTURE(line);
    CHECK(text.find(line) != std::string::npos);
  }
  CHECK(text.find("# TYPE k3s_core_ha_ready_replicas gauge\n") != std::string::npos);
  CHECK(text.ends_with('\n'));
}

TEST_CASE("textfile: a server that has not the turn says nothing of components") {
  const std::string text = report::textfile({.finished = std::chrono::seconds(1), .revision = 1});
  CHECK(text.find("reconcile_turn 0\n") != std::string::npos);
  CHECK(text.find("component=") == std::string::npos);
}
