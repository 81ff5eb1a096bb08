// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>

namespace core_ha {

/// A time drawn evenly from [least, most), so that clients that were thrown out together do not come back together.
std::chrono::milliseconds random_time(std::chrono::milliseconds least, std::chrono::milliseconds most);

/// Pauses between tries: each is drawn from between once and twice a base, which doubles up to a bound.
class Backoff {
 public:
  Backoff(std::chrono::milliseconds first, std::chrono::milliseconds most) : first_(first), most_(most), base_(first) {}

  std::chrono::milliseconds next();
  /// After a success: short again.
  void reset() { base_ = first_; }

 private:
  std::chrono::milliseconds first_;
  std::chrono::milliseconds most_;
  std::chrono::milliseconds base_;
};

}  // namespace core_ha
