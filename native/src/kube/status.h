// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "base/result.h"
#include "http/pool.h"
#include "kube/client.h"

namespace core_ha::kube {

/// The object in a good answer, or what the API's Status (or the network) says, in one sentence.
ApiResult<Json> read_answer(const http::Request& request, http::Response&& response);

/// Why a list was given up whose pages do not end.
ApiError endless_list(const std::string& path);

/// What a Status says of a request, `what` in the words of a person (`GET /api/v1/nodes`).
ApiError refusal(const Json& status, int code, const std::string& method, const std::string& what);

/// The reason that a code stands for when no Status names one.
std::string reason_of(int code, std::string_view method);

/// The field conflicts in a Status of a refused apply.
std::vector<FieldConflict> conflicts_of(const Json& status);

}  // namespace core_ha::kube
