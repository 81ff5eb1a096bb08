// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/exit_status.h"
#include "base/json.h"

namespace core_ha::report {

/// One look of `reconcile`.
struct Look {
  ExitStatus exit = ExitStatus::done;
  std::chrono::seconds finished{0};  ///< since the epoch
  bool changed = false;
  bool turn = false;                 ///< this server had the turn, and knows how the components stand
  std::int64_t revision = 0;         ///< of the wish; 0: none
  Json components = Json::object();  ///< as results have them
};

/// The look in the text format of Prometheus, for node_exporter's textfile collector.
std::string textfile(const Look& look);

}  // namespace core_ha::report
