// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/host.h"

#include <unistd.h>

#include <array>

namespace core_ha {

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string();
}

}  // namespace core_ha
