// SPDX-License-Identifier: GPL-3.0-or-later
#include "drill/dns_message.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace core_ha::drill {
namespace {

constexpr std::size_t max_label = 63;
constexpr std::size_t max_name = 255;  // as encoded: lengths, labels and the root
constexpr std::uint16_t class_in = 1;
constexpr std::uint16_t flag_response = 0x8000;
constexpr std::uint16_t flag_truncated = 0x0200;
constexpr std::uint16_t flag_recursion_desired = 0x0100;

constexpr std::array<std::pair<std::string_view, std::uint16_t>, 8> types = {
    {{"A", 1}, {"NS", 2}, {"CNAME", 5}, {"SOA", 6}, {"PTR", 12}, {"TXT", 16}, {"AAAA", 28}, {"SRV", 33}}};

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
char upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

void put16(Bytes& out, std::uint16_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value & 0xff));
}

/// Reads forward and never past the end; once something was missing, everything is.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }

  std::uint8_t u8() {
    if (at_ >= bytes_.size()) {
      ok_ = false;
      return 0;
    }
    return bytes_[at_++];
  }

  std::uint16_t u16() {
    const unsigned high = u8();
    return static_cast<std::uint16_t>(high << 8 | u8());
  }

  void skip(std::size_t count) {
    if (count > bytes_.size() - at_) {
      ok_ = false;
      at_ = bytes_.size();
      return;
    }
    at_ += count;
  }

  /// A name written out, as a question has it. Compression has nothing to point at there.
  std::string name() {
    std::string text;
    std::size_t encoded = 1;
    for (std::uint8_t length = u8(); ok_ && length != 0; length = u8()) {
      encoded += 1U + length;
      if (length > max_label || encoded > max_name) {
        ok_ = false;
        break;
      }
      if (!text.empty()) text += '.';
      for (unsigned i = 0; i < length; ++i)
        text += lower(static_cast<char>(u8()));
    }
    return text;
  }

  /// Past a name that may end in a pointer. Where the pointer leads is not followed: nothing here needs it.
  void skip_name() {
    for (std::uint8_t length = u8(); ok_ && length != 0; length = u8()) {
      if ((length & 0xc0) == 0xc0) {
        skip(1);
        return;
      }
      if (length > max_label) {
        ok_ = false;
        return;
      }
      skip(length);
    }
  }

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace

std::optional<std::uint16_t> dns_type(std::string_view name) {
  std::string wanted(name);
  std::transform(wanted.begin(), wanted.end(), wanted.begin(), upper);
  for (const auto& [known, number] : types) {
    if (known == wanted) return number;
  }
  return std::nullopt;
}

Result<Bytes> encode_query(std::uint16_t id, std::string_view name, std::uint16_t type) {
  Bytes out;
  out.reserve(12 + name.size() + 6);
  put16(out, id);
  put16(out, flag_recursion_desired);
  put16(out, 1);
  put16(out, 0);
  put16(out, 0);
  put16(out, 0);

  std::string_view rest = name;
  if (!rest.empty() && rest.back() == '.') rest.remove_suffix(1);
  const std::size_t header = out.size();
  while (!rest.empty()) {
    const std::size_t dot = rest.find('.');
    const std::string_view label = rest.substr(0, dot);
    if (label.empty() || label.size() > max_label) {
      return Error{ExitStatus::usage,
                   fmt::format("\"{}\" is not a DNS name: a label has 1 to {} characters.", name, max_label)};
    }
    out.push_back(static_cast<std::uint8_t>(label.size()));
    out.insert(out.end(), label.begin(), label.end());
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
    if (rest.empty())
      return Error{ExitStatus::usage, fmt::format("\"{}\" is not a DNS name: it ends in two dots.", name)};
  }
  out.push_back(0);
  if (out.size() - header > max_name) {
    return Error{ExitStatus::usage, fmt::format("The DNS name \"{}\" is longer than {} bytes.", name, max_name)};
  }
  put16(out, type);
  put16(out, class_in);
  return out;
}

std::optional<DnsResponse> decode_response(std::span<const std::uint8_t> message) {
  Reader in(message);
  DnsResponse response;
  response.id = in.u16();
  const std::uint16_t flags = in.u16();
  const std::uint16_t questions = in.u16();
  const std::uint16_t answers = in.u16();
  in.u16();  // authority
  in.u16();  // additional
  if (!in.ok() || (flags & flag_response) == 0 || questions != 1) return std::nullopt;
  response.rcode = static_cast<Rcode>(flags & 0x0f);
  response.truncated = (flags & flag_truncated) != 0;
  response.name = in.name();
  response.type = in.u16();
  in.u16();  // class
  if (!in.ok()) return std::nullopt;

  for (unsigned i = 0; i < answers; ++i) {
    in.skip_name();
    const std::uint16_t type = in.u16();
    in.skip(2 + 4);  // class, time to live
    in.skip(in.u16());
    if (!in.ok()) break;
    if (type == response.type) ++response.matching;
  }
  if (!in.ok() && !response.truncated) return std::nullopt;
  return response;
}

std::optional<std::uint16_t> message_id(std::span<const std::uint8_t> message) {
  if (message.size() < 2) return std::nullopt;
  return static_cast<std::uint16_t>(message[0] << 8 | message[1]);
}

}  // namespace core_ha::drill
