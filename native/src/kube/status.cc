// SPDX-License-Identifier: GPL-3.0-or-later
#include "kube/status.h"

#include <fmt/format.h>

namespace core_ha::kube {
namespace {

constexpr size_t shown_of_foreign_body = 200;

std::string text(const Json& map, const char* key) {
  const auto it = map.find(key);
  return it != map.end() && it->is_string() ? it->get<std::string>() : std::string();
}

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

ApiError network_error(const HttpRequest& request, const HttpResponse& response, const std::string& server) {
  ApiError error;
  error.status = response.fault == NetFault::interrupted ? ExitStatus::interrupted : ExitStatus::api;
  error.sent = response.fault == NetFault::reset || response.fault == NetFault::timeout;
  switch (response.fault) {
    case NetFault::refused:
      error.message = fmt::format("the API at {} cannot be reached: {}", server, response.detail);
      break;
    case NetFault::timeout:
      error.message =
          fmt::format("the API at {} did not answer {} {} in time", server, request.method, path_only(request.path));
      break;
    case NetFault::tls:
      error.message = fmt::format("the API at {} cannot be trusted: {}", server, response.detail);
      break;
    case NetFault::interrupted: error.message = "interrupted"; break;
    default:
      error.message = fmt::format("the connection to the API at {} broke during {} {}: {}", server, request.method,
                                  path_only(request.path), response.detail);
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
    if (!cause.is_object() || text(cause, "reason") != "FieldManagerConflict") continue;
    // conflict with "deploy@server-1" using apps/v1: the owner has no field of its own.
    const std::string message = text(cause, "message");
    const auto open = message.find('"');
    const auto close = open == std::string::npos ? open : message.find('"', open + 1);
    conflicts.push_back(
        {text(cause, "field"), close == std::string::npos ? message : message.substr(open + 1, close - open - 1)});
  }
  return conflicts;
}

ApiResult<Json> read_answer(const HttpRequest& request, HttpResponse&& response, const std::string& server) {
  if (!response.answered()) return network_error(request, response, server);
  Json body = Json::parse(response.body, nullptr, false);
  const bool good = response.code >= 200 && response.code < 300;
  if (good && !body.is_discarded()) return body;

  ApiError error;
  error.status = ExitStatus::api;
  error.code = response.code;
  const std::string what = fmt::format("{} {}", request.method, path_only(request.path));
  if (good) {
    error.reason = "Unknown";
    error.sent = !request.is_read();
    error.message = fmt::format("the API at {} answered {} with something that is not JSON: {}", server, what,
                                excerpt(response.body));
    return error;
  }
  if (body.is_object() && text(body, "kind") == "Status") {
    error.reason = text(body, "reason");
    error.message = text(body, "message");
    error.conflicts = conflicts_of(body);
  }
  if (error.reason.empty()) error.reason = reason_of(response.code, request.method);
  if (error.message.empty()) error.message = excerpt(response.body);
  error.message = fmt::format("the API refused {} ({} {}): {}", what, response.code, error.reason, error.message);
  return error;
}

}  // namespace core_ha::kube
