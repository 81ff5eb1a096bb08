// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "cli/context.h"

namespace CLI {  // NOLINT(readability-identifier-naming): CLI11's own name
class App;
}

namespace core_ha::cli {

// Each verb has a file of its own, cli/<verb>.cc: it adds its subcommand and gives Context::on_run what to do.
void add_observe(CLI::App& app, Context& context);
void add_plan(CLI::App& app, Context& context);
void add_apply(CLI::App& app, Context& context);
void add_probe(CLI::App& app, Context& context);
void add_lead(CLI::App& app, Context& context);
void add_rebalance(CLI::App& app, Context& context);
void add_reconcile(CLI::App& app, Context& context);
void add_budget(CLI::App& app, Context& context);
void add_version(CLI::App& app, Context& context);

}  // namespace core_ha::cli
