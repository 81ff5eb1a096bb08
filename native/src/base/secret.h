// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace core_ha {

/// Overwrites memory in a way that the compiler keeps.
inline void wipe(void* data, size_t size) {
  if (size > 0) explicit_bzero(data, size);
}

/// Overwrites a string's characters and empties it.
inline void wipe(std::string& text) {
  wipe(text.data(), text.size());
  text.clear();
}

/// A key, token or password: held once, never copied, wiped when it goes. It has no way to be printed by accident.
class SecretString {
 public:
  SecretString() = default;
  explicit SecretString(std::string_view text) : bytes_(text.begin(), text.end()) {}
  /// Takes the text and wipes where it came from.
  static SecretString take(std::string&& text) {
    SecretString secret{std::string_view(text)};
    wipe(text);
    return secret;
  }
  SecretString(SecretString&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  SecretString& operator=(SecretString&& other) noexcept {
    if (this != &other) {
      wipe(bytes_.data(), bytes_.size());
      bytes_ = std::exchange(other.bytes_, {});
    }
    return *this;
  }
  SecretString(const SecretString&) = delete;
  SecretString& operator=(const SecretString&) = delete;
  ~SecretString() { wipe(bytes_.data(), bytes_.size()); }

  bool empty() const { return bytes_.empty(); }
  /// The secret itself; valid as long as this object.
  std::string_view reveal() const { return {bytes_.data(), bytes_.size()}; }

 private:
  std::vector<char> bytes_;  // always on the heap: a moved-from one leaves no copy behind, as a short std::string would
};

}  // namespace core_ha
