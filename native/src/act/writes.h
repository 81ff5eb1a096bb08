// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "ha/plan.h"
#include "kube/client.h"

namespace core_ha::act {

/// What a write did.
struct Written {
  bool changed = false;
  std::vector<ha::Step> undo = {};  ///< the steps that take it back, in order
  bool final = false;               ///< it cannot be taken back: the object that is gone serves no more
  Json before = {};                 ///< the object; null: it was not there
  Json after = {};                  ///< null: it is gone
};

/// Why a write was not done as asked.
struct WriteError : Error {
  bool stale = false;       ///< the object is not the one that was observed
  bool superseded = false;  ///< a later wish is being carried out: nothing more is to be written, not even back
  /// What takes it back, where it was done otherwise than asked, or may have been done: nobody answered to say.
  std::optional<Written> perhaps = {};
};

struct WriteOptions {
  bool dry_run = false;
  /// On the way back: sent again until `patience` is over, and nothing is asked of a pod that is gone.
  bool back = false;
  std::chrono::seconds patience{300};  ///< for an API that does not answer
  std::chrono::milliseconds poll{500};
};

/// Reads until the API answers: one that answered a moment ago is probably restarting.
kube::ApiResult<Json> read_patiently(const std::function<kube::ApiResult<Json>()>& read, const WriteOptions& options);

/// Carries out an apply, scale, patch, disown or remove step and verifies what the server stored. A write without an
/// answer, or with that of a server in trouble, is read back before it is sent again; a signal does not end it before
/// its outcome is known. An apply is sent unforced first; conflicts decide whether force is right.
Result<Written, WriteError> write(const ha::Step& step, kube::Client& client, const WriteOptions& options);

/// The merge patch that takes `patch` back on an object that was `before`.
Json inverse_patch(const Json& patch, const Json& before);

}  // namespace core_ha::act
