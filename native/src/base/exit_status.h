// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string_view>

namespace core_ha {

/// Exit statuses of every verb. `plugins/module_utils/_helper.py` holds the same table; a test compares them.
enum class ExitStatus : int {
  done = 0,             ///< Done, or nothing to do.
  internal = 1,         ///< A defect of ours.
  usage = 2,            ///< Bad command line or spec.
  api = 3,              ///< The API was not reached, or refused us.
  unsafe = 4,           ///< Refused: unsafe, or contested by k3s.
  conflict = 5,         ///< Another owner holds what we were asked to change.
  rolled_back = 6,      ///< Failed, and went back.
  not_rolled_back = 7,  ///< Failed, and could not go back.
  below_bar = 8,        ///< SLA missed, or findings.
  interrupted = 130,    ///< SIGINT or SIGTERM.
};

/// The status' name in results and messages.
constexpr std::string_view to_string(ExitStatus status) {
  switch (status) {
    case ExitStatus::done: return "done";
    case ExitStatus::internal: return "internal";
    case ExitStatus::usage: return "usage";
    case ExitStatus::api: return "api";
    case ExitStatus::unsafe: return "unsafe";
    case ExitStatus::conflict: return "conflict";
    case ExitStatus::rolled_back: return "rolled_back";
    case ExitStatus::not_rolled_back: return "not_rolled_back";
    case ExitStatus::below_bar: return "below_bar";
    case ExitStatus::interrupted: return "interrupted";
  }
  return "internal";
}

}  // namespace core_ha
