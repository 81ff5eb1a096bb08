// SPDX-License-Identifier: GPL-3.0-or-later
//
// doctest's main, with a line for each test case as it ends, so that a person sees that a slow run moves, and a plain
// closing line that any runner of tests can read.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <csignal>
#include <cstdio>
#include <string>

namespace {

class Progress : public doctest::IReporter {
 public:
  explicit Progress(const doctest::ContextOptions&) {}

  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats& stats) override {
    std::printf("%u passed, %u failed\n", stats.numTestCasesPassingFilters - stats.numTestCasesFailed,
                stats.numTestCasesFailed);
    std::fflush(stdout);
  }
  void test_case_start(const doctest::TestCaseData& data) override { name_ = data.m_name; }
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats& stats) override {
    std::printf("%-6s %4d  %6.3f s  %s\n", stats.failure_flags == 0 ? "ok" : "FAILED", ++number_, stats.seconds,
                name_.c_str());
    std::fflush(stdout);
  }
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}

 private:
  std::string name_;
  int number_ = 0;
};

DOCTEST_REGISTER_LISTENER("progress", 1, Progress);

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // as the program has it, whichever cases run
  doctest::Context context(argc, argv);
  context.setOption("no-version", true);
  context.setOption("duration", false);
  return context.run();
}
