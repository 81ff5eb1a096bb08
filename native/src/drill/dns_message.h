// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace core_ha::drill {

using Bytes = std::vector<std::uint8_t>;

/// Response codes of RFC 1035 that a probe tells apart.
enum class Rcode : std::uint8_t { no_error = 0, form_err = 1, serv_fail = 2, nx_domain = 3, not_imp = 4, refused = 5 };

/// What a probe needs of a response.
struct DnsResponse {
  std::uint16_t id = 0;
  Rcode rcode = Rcode::no_error;
  bool truncated = false;
  std::string name;            ///< The question's, lower case, without the last dot.
  std::uint16_t type = 0;      ///< The question's.
  std::uint16_t matching = 0;  ///< Records of the asked type in the answer section.
};

/// The number of a record type (`A`, `AAAA`, …), in any case; nothing for one we do not know.
std::optional<std::uint16_t> dns_type(std::string_view name);

/// A query with recursion desired, as a stub resolver sends it. A usage error for a name that is none.
Result<Bytes> encode_query(std::uint16_t id, std::string_view name, std::uint16_t type);

/// Nothing when the bytes are not one whole, well-formed response to one question. A truncated response may end early.
std::optional<DnsResponse> decode_response(std::span<const std::uint8_t> message);

/// The message's id; nothing when it is too short to have one.
std::optional<std::uint16_t> message_id(std::span<const std::uint8_t> message);

}  // namespace core_ha::drill
