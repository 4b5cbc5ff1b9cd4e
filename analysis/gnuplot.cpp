#include "analysis/gnuplot.h"

#include "analysis/characters.h"
#include "analysis/tool.h"
#include "kernels/base/error.h"
#include "kernels/base/text.h"

namespace recallbench {

bool gnuplot_available() {
  return tool_available("gnuplot");
}

std::string run_gnuplot(const std::string& directory, const std::vector<std::string>& arguments,
                        std::chrono::milliseconds limit) {
  if (!gnuplot_available())
    fail(ErrorKind::io, "figure",
         "gnuplot was not found, so no figure can be drawn. On Debian or Ubuntu: apt-get install "
         "gnuplot-nox; then run 'recallbench plot' on the same folder");
  std::vector<std::string> command = {"gnuplot", "-d"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  ToolOutput result = run_tool(directory, command, limit);
  if (result.problem.empty()) return std::move(result.output);
  const std::string said = plain_text(result.messages);
  fail(ErrorKind::io, "figure", "gnuplot {}{}", result.problem,
       said.empty() ? ", without a message; run 'recallbench plot' on the same folder to try again"
                    : ": " + printable(said, 400));
}

}  // namespace recallbench
