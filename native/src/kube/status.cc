// SPDX-License-Identifier: GPL-3.0-or-later
#include "kube/status.h"

#include <fmt/format.h>

#include <tuple>

namespace core_ha::kube {
namespace {

constexpr size_t shown_of_foreign_body = 200;

std::string path_only(const std::string& path) {
  return path.substr(0, path.find('?'));
}

/// A body that is no Status (a proxy's HTML page): its beginning on one line, in ASCII, since the cut may fall inside
/// a character and the sentence goes into JSON.
std::string excerpt(const std::string& body) {
  std::string shown;
  for (const char c : body.substr(0, shown_of_foreign_body))
    shown += c >= 0x20 && c < 0x7f ? c : ' ';
  if (body.size() > shown_of_foreign_body) shown += "...";
  return shown;
}

ApiError network_error(const http::Request& request, const http::Response& response) {
  ApiError error;
  error.status = response.fault == http::Fault::interrupted ? ExitStatus::interrupted : ExitStatus::api;
  error.sent = response.sent;
  const std::string what = fmt::format("{} {}", request.method, path_only(request.path));
  const auto& [server, detail] = std::tie(response.server, response.detail);
  switch (response.fault) {
    case http::Fault::refused:
      error.message = fmt::format("the API at {} cannot be reached: {}", server, detail);
      break;
    case http::Fault::timeout:
      error.message = response.sent ? fmt::format("the API at {} did not answer {} in time", server, what)
                                    : fmt::format("the API at {} was not reached in time: {}", server, detail);
      break;
    case http::Fault::tls: error.message = fmt::format("the API at {} cannot be trusted: {}", server, detail); break;
    case http::Fault::interrupted: error.message = "interrupted"; break;
    default: error.message = fmt::format("the connection to the API at {} broke during {}: {}", server, what, detail);
  }
  return error;
}

}  // namespace

std::string reason_of(int code, std::string_view method) {
  switch (code) {
    case 400: return "BadRequest";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "NotFound";
    case 405: return "MethodNotAllowed";
    case 406: return "NotAcceptable";
    case 409: return method == "POST" ? "AlreadyExists" : "Conflict";
    case 410: return "Gone";
    case 413: return "RequestEntityTooLarge";
    case 415: return "UnsupportedMediaType";
    case 422: return "Invalid";
    case 429: return "TooManyRequests";
    case 500: return "InternalError";
    case 503: return "ServiceUnavailable";
    case 504: return "Timeout";
    default: return "Unknown";
  }
}

std::vector<FieldConflict> conflicts_of(const Json& status) {
  std::vector<FieldConflict> conflicts;
  const auto details = status.find("details");
  if (details == status.end() || !details->is_object()) return conflicts;
  const auto causes = details->find("causes");
  if (causes == details->end() || !causes->is_array()) return conflicts;
  for (const Json& cause : *causes) {
    if (!cause.is_object() || text_of(cause, "reason") != "FieldManagerConflict") continue;
    // conflict with "deploy@server-1" using apps/v1: the owner has no field of its own.
    const std::string message = text_of(cause, "message");
    const auto open = message.find('"');
    const auto close = open == std::string::npos ? open : message.find('"', open + 1);
    conflicts.push_back(
        {text_of(cause, "field"), close == std::string::npos ? message : message.substr(open + 1, close - open - 1)});
  }
  return conflicts;
}

ApiError endless_list(const std::string& path) {
  ApiError error;
  error.status = ExitStatus::api;
  error.code = 200;
  error.reason = "Unknown";
  error.message = fmt::format("the API does not come to the end of GET {}: {} pages of {} were not all of it",
                              path_only(path), most_pages, page_size);
  return error;
}

ApiError refusal(const Json& status, int code, const std::string& method, const std::string& what) {
  ApiError error;
  error.status = ExitStatus::api;
  error.code = code;
  error.reason = text_of(status, "reason");
  error.conflicts = conflicts_of(status);
  if (error.reason.empty()) error.reason = reason_of(code, method);
  error.message = fmt::format("the API refused {} ({} {}): {}", what, code, error.reason, text_of(status, "message"));
  return error;
}

ApiResult<Json> read_answer(const http::Request& request, http::Response&& response) {
  if (!response.answered()) return network_error(request, response);
  Json body = Json::parse(response.body, nullptr, false);
  const bool good = response.code >= 200 && response.code < 300;
  if (good && !body.is_discarded()) return body;

  const std::string what = fmt::format("{} {}", request.method, path_only(request.path));
  if (good) {
    ApiError error;
    error.status = ExitStatus::api;
    error.code = response.code;
    error.reason = "Unknown";
    error.sent = !request.is_read();
    error.message = fmt::format("the API at {} answered {} with something that is not JSON: {}", response.server, what,
                                excerpt(response.body));
    return error;
  }
  if (!body.is_object() || text_of(body, "kind") != "Status") body = {{"message", excerpt(response.body)}};
  if (text_of(body, "message").empty()) body["message"] = excerpt(response.body);
  return refusal(body, response.code, request.method, what);
}

}  // namespace core_ha::kube
