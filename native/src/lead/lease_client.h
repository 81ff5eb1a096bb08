// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "kube/client.h"
#include "kube/object_ref.h"
#include "lead/elector.h"

namespace core_ha::lead {

/// Connects anew, with the credentials as they are now. `failures` counts the requests without an answer so far, so
/// that of several servers another one can be asked first. Called in the LeaseClient's thread.
using Connect = std::function<Result<std::unique_ptr<kube::Client>>(int failures)>;

/// Sends the elector's orders, one at a time, from a thread of its own: whoever watches the clock waits for no server.
class LeaseClient {
 public:
  /// `while_none`: label selector; the Lease is not taken while a pod of its namespace that it selects may run. Empty:
  /// none is looked for.
  LeaseClient(kube::ObjectRef lease, Connect connect, std::string while_none = {});
  /// Does not wait for a request that is under way.
  ~LeaseClient();
  LeaseClient(const LeaseClient&) = delete;
  LeaseClient& operator=(const LeaseClient&) = delete;

  /// Readable when an answer is there; for poll(2).
  int fd() const;
  /// Only when the order before was answered, and the answer taken.
  void send(Order order);
  std::optional<kube::ApiResult<Json>> take_answer();

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace core_ha::lead
