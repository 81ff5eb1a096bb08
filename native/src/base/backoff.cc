// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/backoff.h"

#include <algorithm>
#include <random>

namespace core_ha {

std::chrono::milliseconds random_time(std::chrono::milliseconds least, std::chrono::milliseconds most) {
  static std::mt19937_64 engine{std::random_device{}()};
  return std::chrono::milliseconds(
      std::uniform_int_distribution<std::chrono::milliseconds::rep>(least.count(), most.count() - 1)(engine));
}

std::chrono::milliseconds Backoff::next() {
  const auto pause = random_time(base_, 2 * base_);
  base_ = std::min(2 * base_, most_);
  return pause;
}

}  // namespace core_ha
