// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/secret.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string_view>
#include <type_traits>

using core_ha::SecretString;

// A client in Go can only mask a secret where it would be printed (rest/config.go); ours is also gone after its use.
TEST_CASE("rest/config.go: a secret is moved, never copied or printed, and its source is wiped") {
  static_assert(!std::is_copy_constructible_v<SecretString>);
  static_assert(!std::is_convertible_v<SecretString, std::string_view>);
  static_assert(!fmt::is_formattable<SecretString>::value);
  // NOLINTBEGIN(bugprone-use-after-move): what is left behind is what is tested
  std::string source = "short";
  SecretString secret = SecretString::take(std::move(source));
  CHECK(source.empty());
  SecretString moved = std::move(secret);
  CHECK(secret.empty());
  CHECK(moved.reveal() == "short");
  // NOLINTEND(bugprone-use-after-move)
}
