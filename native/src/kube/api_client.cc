// SPDX-License-Identifier: GPL-3.0-or-later
#include "kube/api_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/backoff.h"
#include "base/encoding.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "kube/status.h"

namespace core_ha::kube {
namespace {

std::string with_query(std::string path, const std::vector<std::pair<std::string, std::string>>& parameters) {
  for (const auto& [key, value] : parameters) {
    if (value.empty()) continue;
    path += path.find('?') == std::string::npos ? '?' : '&';
    path += key + "=" + encode_query(value);
  }
  return path;
}

/// A collection whose pages come one after the other, beside others.
struct Listing {
  const Read& read;
  std::string continue_token = {};
  bool paged = true;  ///< false: the list in one piece, after a token ran out
  int pages = 0;
  Json whole = {};
  std::optional<ApiError> failed = {};
  bool finished = false;

  http::Request next_request() const {
    std::vector<std::pair<std::string, std::string>> parameters = {{"labelSelector", read.label_selector},
                                                                   {"fieldSelector", read.field_selector}};
    if (read.list && paged) {
      parameters.emplace_back("limit", std::to_string(page_size));
      parameters.emplace_back("continue", continue_token);
    }
    return http::Request{.path = with_query(read.path, parameters), .accept = read.accept};
  }

  void take(ApiResult<Json>&& answer) {
    if (!answer) {
      // The token of a long list ran out of time (410): one full list instead.
      if (read.list && paged && !continue_token.empty() && answer.error().code == 410) {
        paged = false;
        whole = {};
        return;
      }
      failed = answer.error();
      finished = true;
      return;
    }
    continue_token.clear();
    if (read.list && answer->is_object()) {
      if (const auto metadata = answer->find("metadata"); metadata != answer->end() && metadata->is_object())
        continue_token = text_of(*metadata, "continue");
      name_items(*answer);
    }
    if (whole.is_null()) {
      whole = std::move(*answer);
    } else {
      for (Json& item : (*answer)["items"])
        whole["items"].push_back(std::move(item));
    }
    finished = !paged || continue_token.empty();
    if (finished || ++pages < most_pages) return;
    failed = endless_list(read.path);
    finished = true;
  }

  /// Items of a list carry neither kind nor apiVersion; ours do, so that each can stand alone.
  static void name_items(Json& list) {
    const std::string kind = text_of(list, "kind");
    auto items = list.find("items");
    if (items == list.end() || items->is_null()) {
      list["items"] = Json::array();
      return;
    }
    if (!kind.ends_with("List") || !items->is_array()) return;
    for (Json& item : *items) {
      if (!item.is_object()) continue;
      item["kind"] = kind.substr(0, kind.size() - 4);
      item["apiVersion"] = list["apiVersion"];
    }
  }
};

}  // namespace

ApiClient::ApiClient(std::unique_ptr<http::Pool> pool, std::chrono::milliseconds retry_time, Deadline deadline)
    : pool_(std::move(pool)),
      exchanger_(
          [this](const std::vector<http::Request>& requests, Deadline until) { return pool_->send(requests, until); },
          retry_time),
      deadline_(deadline) {}

Result<std::unique_ptr<ApiClient>> ApiClient::open(http::Connection connection, const http::Options& options,
                                                   Deadline deadline) {
  auto pool = http::Pool::open(std::move(connection), options);
  if (!pool) return pool.error();
  return std::make_unique<ApiClient>(std::move(*pool), options.retry_time, deadline);
}

void ApiClient::keep_warnings(http::Response& response) {
  for (std::string& warning : response.warnings)
    if (seen_warnings_.insert(warning).second) warnings_.push_back(std::move(warning));
}

std::vector<http::Response> ApiClient::send(const std::vector<http::Request>& requests, Deadline deadline) {
  std::vector<http::Response> responses = exchanger_.send(requests, deadline);
  for (http::Response& response : responses)
    keep_warnings(response);
  return responses;
}

ApiResult<Json> ApiClient::send_one(http::Request request) {
  const std::vector<http::Request> requests{std::move(request)};
  return read_answer(requests.front(), std::move(send(requests, deadline_).front()));
}

ApiResult<Json> ApiClient::get(const std::string& path) {
  return send_one({.path = path});
}

std::vector<ApiResult<Json>> ApiClient::read_all(const std::vector<Read>& reads) {
  return read_until(reads, deadline_);
}

std::vector<ApiResult<Json>> ApiClient::read_until(const std::vector<Read>& reads, Deadline deadline) {
  std::vector<Listing> listings;
  listings.reserve(reads.size());
  for (const Read& read : reads)
    listings.push_back({read});
  for (;;) {
    std::vector<http::Request> requests;
    std::vector<Listing*> asked;
    for (Listing& listing : listings) {
      if (listing.finished) continue;
      requests.push_back(listing.next_request());
      asked.push_back(&listing);
    }
    if (requests.empty()) break;
    std::vector<http::Response> responses = send(requests, deadline);
    for (size_t i = 0; i < asked.size(); ++i)
      asked[i]->take(read_answer(requests[i], std::move(responses[i])));
  }
  std::vector<ApiResult<Json>> results;
  for (Listing& listing : listings) {
    if (listing.failed)
      results.emplace_back(std::move(*listing.failed));
    else
      results.emplace_back(std::move(listing.whole));
  }
  return results;
}

ApiResult<bool> ApiClient::watch(const Read& read, WatchedList& list, const std::function<bool(const Objects&)>& look,
                                 Deadline until) {
  const http::Request request{.path =
                                  with_query(read.path, {{"labelSelector", read.label_selector},
                                                         {"fieldSelector", read.field_selector},
                                                         {"watch", "true"},
                                                         {"allowWatchBookmarks", "true"},
                                                         {"resourceVersion", list.version()},
                                                         {"timeoutSeconds", std::to_string(watch_time().count())}})};
  list.begin_watch();
  bool satisfied = false;
  std::optional<ApiError> failed;
  auto response = pool_->stream(
      request,
      [&](std::string_view bytes) {
        return list.take(bytes, [&](ApiResult<bool> changed) {
          if (!changed)
            failed = changed.error();
          else if (*changed)
            satisfied = look(list.objects());
          return !failed && !satisfied;
        });
      },
      until);
  keep_warnings(response);
  if (failed) return *failed;
  if (satisfied) return true;
  if (const auto asked = http::retry_after(request, response); asked && response.answered())
    sleep_until(Deadline::earlier(until, Deadline::after(*asked)));
  // An answer that came to its end is no object, and need not be one.
  if (response.answered() && response.code == 200) return false;
  return read_answer(request, std::move(response)).error();
}

ApiResult<bool> ApiClient::follow(const Read& read, const std::function<bool(const Objects&)>& look, Deadline until) {
  const Deadline end = Deadline::earlier(until, deadline_);
  Read whole = read;
  whole.list = true;
  std::optional<WatchedList> list;  // nothing: to be read (again)
  Backoff pause(std::chrono::milliseconds(200), std::chrono::seconds(2));
  bool said = false;
  for (;;) {
    const auto start = Deadline::Clock::now();
    const bool read_now = !list;
    ApiResult<bool> satisfied = false;
    if (read_now) {
      auto answer = std::move(read_until({whole}, end).front());
      if (answer) {
        list.emplace(*answer);
        satisfied = look(list->objects());
      } else {
        satisfied = answer.error();
      }
    } else {
      satisfied = watch(read, *list, look, end);
    }
    if (satisfied && *satisfied) return true;
    if (should_stop()) return ApiError{{ExitStatus::interrupted, "interrupted"}};
    if (end.expired()) return false;
    if (satisfied) {
      // A watch that ends as soon as it begins is no good one: client-go calls it a very short watch.
      said = false;
      if (read_now || Deadline::Clock::now() - start > std::chrono::seconds(1)) {
        pause.reset();
        continue;
      }
    } else if (satisfied.error().expired() && !read_now) {
      log::detail(fmt::format("{}; reading the list again", satisfied.error().message));
      list.reset();
      continue;
    } else if (!satisfied.error().may_pass()) {
      return satisfied.error();
    } else if (!std::exchange(said, true)) {
      log::progress(satisfied.error().message + "; waiting for it");
    }
    if (!sleep_until(Deadline::earlier(end, Deadline::after(pause.next()))))
      return ApiError{{ExitStatus::interrupted, "interrupted"}};
  }
}

ApiResult<Json> ApiClient::apply(const ObjectRef& ref, const Json& object, const ApplyOptions& options) {
  Json body = object;
  if (body.contains("metadata")) body["metadata"].erase("managedFields");
  return send_one({.method = "PATCH",
                   .path = with_query(rest_path(ref), {{"fieldManager", options.manager},
                                                       {"force", options.force ? "true" : "false"},
                                                       {"fieldValidation", "Strict"},
                                                       {"dryRun", options.dry_run ? "All" : ""}}),
                   .content_type = "application/apply-patch+yaml",
                   .body = body.dump()});
}

ApiResult<Json> ApiClient::create(const ObjectRef& ref, const Json& object) {
  ObjectRef collection = ref;
  collection.name.clear();
  return send_one({.method = "POST",
                   .path = with_query(rest_path(collection),
                                      {{"fieldManager", std::string(field_manager)}, {"fieldValidation", "Strict"}}),
                   .content_type = "application/json",
                   .body = object.dump()});
}

ApiResult<Json> ApiClient::replace(const ObjectRef& ref, const Json& object) {
  return send_one({.method = "PUT",
                   .path = with_query(rest_path(ref),
                                      {{"fieldManager", std::string(field_manager)}, {"fieldValidation", "Strict"}}),
                   .content_type = "application/json",
                   .body = object.dump()});
}

ApiResult<Json> ApiClient::merge_patch(const ObjectRef& ref, const Json& patch, const PatchOptions& options) {
  return send_one({.method = "PATCH",
                   .path = with_query(rest_path(ref, options.subresource), {{"fieldManager", options.manager},
                                                                            {"fieldValidation", "Strict"},
                                                                            {"dryRun", options.dry_run ? "All" : ""}}),
                   .content_type = "application/merge-patch+json",
                   .body = patch.dump()});
}

ApiResult<Json> ApiClient::remove(const ObjectRef& ref, const DeleteOptions& options) {
  Json body{{"kind", "DeleteOptions"}, {"apiVersion", "v1"}};
  if (!options.uid.empty()) body["preconditions"]["uid"] = options.uid;
  if (!options.version.empty()) body["preconditions"]["resourceVersion"] = options.version;
  if (!options.propagation.empty()) body["propagationPolicy"] = options.propagation;
  if (options.grace_seconds) body["gracePeriodSeconds"] = *options.grace_seconds;
  if (options.dry_run) body["dryRun"] = {"All"};
  // The body is what counts. The query says it, too, to whoever reads an audit log without bodies.
  return send_one({.method = "DELETE",
                   .path = with_query(rest_path(ref), {{"dryRun", options.dry_run ? "All" : ""}}),
                   .content_type = "application/json",
                   .body = body.dump()});
}

ApiResult<Json> ApiClient::evict(const ObjectRef& pod, const DeleteOptions& options) {
  Json body{{"apiVersion", "policy/v1"},
            {"kind", "Eviction"},
            {"metadata", {{"name", pod.name}, {"namespace", pod.ns}}},
            {"deleteOptions", {{"preconditions", {{"uid", options.uid}}}}}};
  if (options.dry_run) body["deleteOptions"]["dryRun"] = {"All"};
  return send_one({.method = "POST",
                   .path = with_query(rest_path(pod, "eviction"), {{"dryRun", options.dry_run ? "All" : ""}}),
                   .content_type = "application/json",
                   .body = body.dump()});
}

std::vector<std::string> ApiClient::take_warnings() {
  return std::exchange(warnings_, {});
}

Result<void> ApiClient::wait_until_ready(std::chrono::seconds bound) {
  using std::chrono::milliseconds;
  const auto start = Deadline::Clock::now();
  const Deadline until = Deadline::earlier(Deadline::after(bound), deadline_);
  const std::vector<http::Request> probe{{.path = "/readyz"}};
  Deadline next_word = Deadline::after(milliseconds(0));
  std::string heard = "no answer yet";
  std::string asked = pool_->server();
  do {
    const auto answer = pool_->send(probe, Deadline::earlier(until, Deadline::after(milliseconds(5000)))).front();
    if (answer.answered() && answer.code == 200) return {};
    asked = answer.server;
    heard = answer.answered() ? fmt::format("/readyz answers {}", answer.code) : answer.detail;
    if (answer.fault == http::Fault::interrupted) return Error{ExitStatus::interrupted, "interrupted"};
    if (answer.fault == http::Fault::tls) break;  // time does not mend a certificate
    pool_->ask_next();
    if (next_word.expired()) {
      const auto waited = std::chrono::duration_cast<std::chrono::seconds>(Deadline::Clock::now() - start);
      log::progress(
          fmt::format("waiting for the API at {} ({} of {} s): {}", asked, waited.count(), bound.count(), heard));
      next_word = Deadline::after(milliseconds(5000));
    }
    if (!sleep_until(Deadline::earlier(until, Deadline::after(milliseconds(500)))))
      return Error{ExitStatus::interrupted, "interrupted"};
  } while (!until.expired());
  return Error{ExitStatus::api,
               fmt::format("the API at {} was not ready within {} s: {}", asked, bound.count(), heard)};
}

}  // namespace core_ha::kube
