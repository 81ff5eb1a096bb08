// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/encoding.h"

#include <cstdint>

#include "base/secret.h"

namespace core_ha {
namespace {

int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

}  // namespace

std::optional<std::string> decode_base64(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size() / 4 * 3 + 3);  // never grows: what it holds may be a key
  std::uint32_t bits = 0;
  size_t digits = 0;
  size_t padding = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r' || c == ' ' || c == '\t') continue;
    const int value = c == '=' ? 0 : base64_value(c);
    if (value < 0 || (padding > 0 && c != '=')) return std::nullopt;
    if (c == '=') ++padding;
    bits = bits << 6U | static_cast<std::uint32_t>(value);
    if (++digits % 4 != 0) continue;
    if (padding > 2) return std::nullopt;
    decoded += static_cast<char>(bits >> 16U & 0xffU);
    if (padding < 2) decoded += static_cast<char>(bits >> 8U & 0xffU);
    if (padding < 1) decoded += static_cast<char>(bits & 0xffU);
  }
  if (digits % 4 != 0 || padding > 2) return std::nullopt;
  return decoded;
}

std::string encode_query(std::string_view text) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
        c == '_' || c == '~') {
      encoded += c;
    } else {
      encoded += '%';
      encoded += digits[byte >> 4U];
      encoded += digits[byte & 0xfU];
    }
  }
  return encoded;
}

void wipe_strings(Json& document) {
  if (document.is_string()) {
    wipe(document.get_ref<std::string&>());
  } else if (document.is_structured()) {
    for (auto& item : document)
      wipe_strings(item);
  }
}

}  // namespace core_ha
