// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/secret.h"

#include <doctest/doctest.h>

#include <type_traits>

using core_ha::SecretString;

TEST_CASE("a secret is moved, never copied, and its source is wiped") {
  static_assert(!std::is_copy_constructible_v<SecretString>);
  // NOLINTBEGIN(bugprone-use-after-move): what is left behind is what is tested
  std::string source = "short";
  SecretString secret = SecretString::take(std::move(source));
  CHECK(source.empty());
  SecretString moved = std::move(secret);
  CHECK(secret.empty());
  CHECK(moved.reveal() == "short");
  // NOLINTEND(bugprone-use-after-move)
}
