// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/connection.h"

#include <fmt/format.h>

#include "http/url.h"

namespace core_ha::http {

Result<std::string> server_url(std::string_view text) {
  std::string url(text);
  while (url.ends_with('/'))
    url.pop_back();
  if (!url.empty() && url.find("://") == std::string::npos) url = "https://" + url;
  const Url parts(url);
  const std::string scheme = parts.part(CURLUPART_SCHEME);
  std::string wrong;
  if (url.empty())
    wrong = "it is empty";
  else if (!parts.fault().empty())
    wrong = parts.fault();
  else if (scheme != "https" && scheme != "http")
    wrong = fmt::format("its scheme is {}", scheme);
  else if (!parts.part(CURLUPART_USER).empty() || !parts.part(CURLUPART_QUERY).empty() ||
           !parts.part(CURLUPART_FRAGMENT).empty())
    wrong = "it has a user, a query or a fragment";
  if (wrong.empty()) return url;
  return Error{
      ExitStatus::usage,
      fmt::format("\"{}\" is no URL of an API server ({}); it looks like https://198.51.100.1:6443", text, wrong)};
}

bool is_loopback(std::string_view host) {
  return host == "localhost" || host.ends_with(".localhost") || host == "[::1]" || host == "::1" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string_view::npos);
}

}  // namespace core_ha::http
