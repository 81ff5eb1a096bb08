// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "base/result.h"
#include "kube/client.h"
#include "kube/http.h"

namespace core_ha::kube {

/// The object in a good answer, or what the API's Status (or the network) says, in one sentence.
ApiResult<Json> read_answer(const HttpRequest& request, HttpResponse&& response, const std::string& server);

/// The reason that a code stands for when no Status names one.
std::string reason_of(int code, std::string_view method);

/// The field conflicts in a Status of a refused apply.
std::vector<FieldConflict> conflicts_of(const Json& status);

}  // namespace core_ha::kube
