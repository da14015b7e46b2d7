#pragma once

#include <string>
#include <vector>

#include "controller/run.h"

namespace squall {

// Columns of the terminal at standard error, 80 when it is none.
int TerminalColumns();
bool IsTerminal(int fd);
// The stream is a terminal and NO_COLOR is not set.
bool UsesColor(int fd);

// A few lines on standard error that are drawn anew in place. Not thread-safe.
class Picture {
 public:
  void Draw(const std::vector<std::string>& lines);
  // Takes it away, so that what is printed next stands in its place.
  void Erase();

 private:
  int drawn_lines_ = 0;
};

// Shows the progress of a run on standard error: a picture of a few lines that is drawn anew on a terminal, one plain line
// every five seconds and for each event elsewhere. Not thread-safe; one object shows one run.
class ProgressView {
 public:
  explicit ProgressView(std::string title);
  // Takes the picture away.
  ~ProgressView();
  void Show(const Progress& progress);
  void Event(const std::string& line);

 private:
  const std::string title_;
  const bool live_;
  const bool color_;
  Picture picture_;
  int64_t next_line_ns_ = 0;
};

// The picture, one string a line, no longer than `columns`. Pure.
std::vector<std::string> DrawProgress(const std::string& title, const Progress& progress, int columns, bool color);
// The same in one plain line.
std::string ProgressLine(const Progress& progress);

}  // namespace squall
