#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace recallbench {

/// Bytes of the well-formed UTF-8 character that `text` begins with (RFC 3629: no overlong forms,
/// no surrogates, at most U+10FFFF); 0 where there is none.
std::size_t utf8_length(std::string_view text);

/// True if the UTF-8 character that `text` begins with is a control character (C0, DEL, C1).
bool begins_with_control(std::string_view text);

/// `text` fit for a terminal and a log: control characters and bytes that are not UTF-8 become
/// \xNN; what goes beyond `limit` bytes becomes "...".
std::string printable(std::string_view text, std::size_t limit = 200);

/// printable(text) between single quotes: how names and paths stand in messages.
std::string in_quotes(std::string_view text);

/// `text` without the spaces around it.
std::string_view trimmed(std::string_view text);

/// The parts of `text` between separators, views into it: one more than there are separators.
std::vector<std::string_view> split(std::string_view text, char separator);

/// The same, where separators in quotes ('...', or "..." with \" for a quote) and in brackets of
/// any kind do not count.
std::vector<std::string_view> split_outside_brackets(std::string_view text,
                                                     std::string_view separator);

/// The shortest decimal that reads back to the same bits, and still as a number with a fraction:
/// "0.01", "3.0", "1e+300".
std::string number_text(double x);

}  // namespace recallbench
