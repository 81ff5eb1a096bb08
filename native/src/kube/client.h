// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "base/json.h"
#include "base/result.h"
#include "kube/object_ref.h"

namespace core_ha::kube {

/// Our field manager, and the prefix of our labels and annotations.
inline constexpr std::string_view field_manager = "k3s-core-ha";

/// One cause of a refused server-side apply: who owns which field.
struct FieldConflict {
  std::string field;  ///< `.spec.replicas`
  std::string owner;  ///< the other field manager
};

/// Why a request gave no object: the network, or a Status from the API. `status` and `message` come from Error.
struct ApiError : Error {
  int code = 0;  ///< HTTP status; 0 when there was no answer.
  std::string
      reason;  ///< Status.reason: `NotFound`, `Conflict`, `AlreadyExists`, `Forbidden`, `Invalid`, … decides first.
  std::vector<FieldConflict> conflicts;
  bool sent = false;  ///< No answer, but the request may have been carried out: read back before deciding.

  bool not_found() const { return reason == "NotFound"; }
  bool conflict() const { return reason == "Conflict"; }
  bool no_answer() const { return code == 0; }
  /// The version that was asked for is too old to go on from.
  bool expired() const { return code == 410 || reason == "Expired" || reason == "Gone"; }
  /// True for what time may mend: no answer, or an API server that is starting, ending or busy.
  bool may_pass() const { return status != ExitStatus::interrupted && (no_answer() || code == 429 || code >= 500); }
  /// Only the sentence and the exit status, for callers that hand it on.
  Error as_error() const { return Error{status, message}; }
};

/// A value or why there is none.
template <class T>
using ApiResult = Result<T, ApiError>;

/// One read: an object, or with `list` a collection whose pages are all fetched and joined under `items`.
struct Read {
  std::string path;  ///< `/apis/apps/v1/namespaces/kube-system/deployments`; may carry a query.
  bool list = false;
  std::string label_selector = {};
  std::string field_selector = {};
  std::string accept = {};  ///< media types in order of preference; empty: application/json
};

/// Objects in a page of a list (tools/pager).
inline constexpr int page_size = 500;
/// More than three times the pods of the largest cluster that Kubernetes is meant for: a list that goes on is one whose
/// server names a next page for ever.
inline constexpr int most_pages = 1000;

/// Field selector of the pods that run or may yet run: of one that has ended, its object may still be there.
inline constexpr const char* pods_that_run = "status.phase!=Succeeded,status.phase!=Failed";

/// The objects of a list by namespace and name (`kube-system/coredns`).
using Objects = std::map<std::string, Json>;

struct ApplyOptions {
  std::string manager = std::string(field_manager);
  bool force = false;
  bool dry_run = false;
};

struct PatchOptions {
  std::string manager = std::string(field_manager);
  std::string subresource = {};
  bool dry_run = false;
};

struct DeleteOptions {
  std::string uid = {};          ///< Precondition; empty: none.
  std::string version = {};      ///< resourceVersion as precondition; empty: none.
  std::string propagation = {};  ///< `Orphan`, `Background`, `Foreground`; empty: the kind's default.
  std::optional<int> grace_seconds = {};
  bool dry_run = false;
};

/// The Kubernetes API as the other rooms see it; tests put a cluster in memory behind it.
/// Every request ends within the client's own times (http::Options), also where the run has no deadline.
class Client {
 public:
  virtual ~Client() = default;

  /// One object, or any path that answers JSON (`/version`). A list is one page: use read_all for whole ones.
  virtual ApiResult<Json> get(const std::string& path) = 0;
  /// All reads at once over one connection pool; answers in the order of the reads.
  virtual std::vector<ApiResult<Json>> read_all(const std::vector<Read>& reads) = 0;
  /// Reads a list and follows it by a watch: `look` is shown the objects at first and after every change, until it
  /// returns true. False when the time is over before. An API that does not answer for a while only takes time.
  virtual ApiResult<bool> follow(const Read& read, const std::function<bool(const Objects&)>& look, Deadline until) = 0;
  /// Server-side apply with strict field validation; the object that is then stored.
  virtual ApiResult<Json> apply(const ObjectRef& ref, const Json& object, const ApplyOptions& options) = 0;
  /// Creates (POST); AlreadyExists when it is there.
  virtual ApiResult<Json> create(const ObjectRef& ref, const Json& object) = 0;
  /// Puts the object in the place of the stored one (PUT); Conflict unless that is of the resourceVersion and the uid
  /// that the object carries. Not tried again by itself: who holds a Lease is decided anew by who reads it.
  virtual ApiResult<Json> replace(const ObjectRef& ref, const Json& object) = 0;
  /// JSON merge patch. A uid in `metadata` is a precondition (Conflict when another object has the name).
  virtual ApiResult<Json> merge_patch(const ObjectRef& ref, const Json& patch, const PatchOptions& options) = 0;
  /// Deletes; the Status or the object that the server sends back. NotFound is an error for the caller to judge.
  virtual ApiResult<Json> remove(const ObjectRef& ref, const DeleteOptions& options) = 0;

  /// Asks for the end of a pod as a drain does: 429 when a PodDisruptionBudget says not yet. Of the options `uid` and
  /// `dry_run` are read.
  virtual ApiResult<Json> evict(const ObjectRef& pod, const DeleteOptions& options) = 0;

  /// Warning headers of all answers so far, each text once; cleared by the call.
  virtual std::vector<std::string> take_warnings() = 0;
  /// Replaces the run's deadline: going back gets a time of its own.
  virtual void set_deadline(Deadline deadline) = 0;

  ApiResult<Json> get_object(const ObjectRef& ref) { return get(rest_path(ref)); }
};

}  // namespace core_ha::kube
