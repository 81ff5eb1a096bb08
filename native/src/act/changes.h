// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <vector>

#include "act/act.h"
#include "act/writes.h"

namespace core_ha::act {

/// Collects what lasting objects were before the first write and are after the last one.
class Changes {
 public:
  /// Takes note of a write; pods and ReplicaSets, or a DaemonSet's ControllerRevisions, come and go with a rollout
  /// and are no difference of their own.
  void note(const ha::Step& step, const Written& written);

  /// Reads the objects as they are now, after a real run; of a dry run what the server answered counts.
  void refresh(kube::Client& client);

  /// Those that differ, in the order in which they were first touched.
  std::vector<Change> list() const;

 private:
  std::vector<Change> changes_;
};

}  // namespace core_ha::act
