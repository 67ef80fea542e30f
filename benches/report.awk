# The table and the plot of what the rows have measured.

function seconds(us) {
  if (us < 100000) return sprintf("%.0f ms", us / 1000)
  return us < 10000000 ? sprintf("%.2f s", us / 1000000) : sprintf("%.1f s", us / 1000000)
}
function times(ratio) { return (ratio < 10 ? sprintf("%.2g", ratio) : sprintf("%.0f", ratio)) "x" }
# Sorts the times of one tool in one row and keeps median, least and most.
function settle(row, tool, list, n, i, j, swap) {
  n = split(measured[row, tool], list, " ")
  for (i = 2; i <= n; i++)
    for (j = i; j > 1 && list[j] + 0 < list[j - 1] + 0; j--) {
      swap = list[j]; list[j] = list[j - 1]; list[j - 1] = swap
    }
  median[row, tool] = n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
  least[row, tool] = list[1]
  most[row, tool] = list[n]
  if (list[n] > slowest) slowest = list[n]
  if (fewest == 0 || n < fewest) fewest = n
  if (n > rounds) rounds = n
}
function escaped(text) {
  gsub(/&/, "\\&amp;", text)
  gsub(/</, "\\&lt;", text)
  gsub(/`/, "", text)
  return text
}

FNR == 1 { rows++ }
$1 == "title" { title[rows] = $2 }
$1 == "goal" { goals[rows]++; against[rows, goals[rows]] = $3; kind[rows, goals[rows]] = $4; wanted[rows, goals[rows]] = $5 }
$1 == "limit" { limit[rows] = $2 }
$1 == "note" { note[rows] = $2 }
# The most that any round took, in kilobytes.
$1 == "memory" && $3 > memory[rows] { memory[rows] = $3 }
$1 == "time" {
  if (!((rows, $2) in measured)) tools[rows, ++count[rows]] = $2
  measured[rows, $2] = measured[rows, $2] " " $3
}

END {
  for (row = 1; row <= rows; row++)
    for (i = 1; i <= count[row]; i++) settle(row, tools[row, i])
  write_table()
  write_plot()
}

function write_table(   row, i, other, ratio, goal, verdict, cell, ours) {
  print "# labctl side by side with what people use instead\n" > table
  print "Made by `make bench` on " date ": " machine "; all nodes are on that machine." > table
  print "Medians of " fewest (rounds > fewest ? " to " rounds : "") (rounds == 1 ? " round" : " rounds") ", the tools of a row one after the other in each. The files that drive" > table
  print "them lie in this folder, one folder a row; what they leave on the nodes is held against each other.\n" > table
  print versions ".\n" > table
  print "![The times of all tools, on a logarithmic scale](results.svg)\n" > table
  print "| work | labctl | against | takes | ratio | goal | |" > table
  print "|---|---|---|---|---|---|---|" > table
  for (row = 1; row <= rows; row++) {
    ours = median[row, "labctl"]
    for (i = 1; i <= goals[row]; i++) {
      other = against[row, i]
      verdict = "reached"
      cell = i == 1 ? seconds(ours) : ""
      if (kind[row, i] == "at-least") {
        ratio = median[row, other] / ours
        goal = wanted[row, i] "x as fast"
        if (wanted[row, i] == 1) goal = "as fast"
        if (ratio < wanted[row, i]) verdict = sprintf("**missed by %.0f %%**", 100 * (1 - ratio / wanted[row, i]))
        ratio = times(ratio) " as fast"
      } else if (kind[row, i] == "at-most") {
        ratio = ours / median[row, other]
        goal = "at most " wanted[row, i] "x its time"
        if (ratio > wanted[row, i]) verdict = sprintf("**missed by %.0f %%**", 100 * (ratio / wanted[row, i] - 1))
        ratio = times(ratio) " its time"
      } else if (kind[row, i] == "under") {
        ratio = ""
        goal = "under " wanted[row, i] " s"
        if (ours > wanted[row, i] * 1000000) verdict = sprintf("**missed by %s**", seconds(ours - wanted[row, i] * 1000000))
      } else if (kind[row, i] == "under-mb") {
        ratio = ""
        goal = "at most " wanted[row, i] " MB"
        cell = sprintf("%.0f MB", memory[row] / 1024)
        if (memory[row] > wanted[row, i] * 1024)
          verdict = sprintf("**missed by %.0f MB**", memory[row] / 1024 - wanted[row, i])
      } else {
        ratio = times(ours / median[row, other]) " its time"
        goal = ""
        verdict = ""
      }
      if (verdict ~ /missed/) missed[row] = 1
      printf "| %s | %s | %s | %s | %s | %s | %s |\n", i == 1 ? title[row] : "", cell, other, \
        other == "" ? "" : seconds(median[row, other]), ratio, goal, verdict > table
    }
  }
  print "" > table
  for (row = 1; row <= rows; row++) {
    if (row in note) print "- " title[row] ": " note[row] > table
    if (missed[row] && row in limit) print "- " title[row] ", what the limit is: " limit[row] > table
  }
}

# Where a time stands on the logarithmic scale.
function x(us) { return left + (log(us) - log(from)) / (log(to) - log(from)) * wide }

function write_plot(   row, i, tool, y, tick, height, end) {
  left = 150; wide = 560; from = 10000; step = 18
  to = slowest > 200000000 ? 1000000000 : 100000000
  height = 40
  for (row = 1; row <= rows; row++) height += 30 + count[row] * step
  printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 %d\" width=\"800\" height=\"%d\" role=\"img\">\n", height, height > plot
  print "<title>labctl side by side with what people use instead: seconds, on a logarithmic scale</title>" > plot
  print "<style>" > plot
  print "text { font: 12px system-ui, sans-serif; fill: #1f2328 } .row { font-weight: 600 } .small { font-size: 11px; fill: #59636e }" > plot
  print ".labctl { fill: #0969da } .other { fill: #9aa4af } .grid { stroke: #d1d9e0 } .spread { stroke: #1f2328 }" > plot
  print "@media (prefers-color-scheme: dark) { text { fill: #f0f6fc } .small { fill: #9198a1 } .labctl { fill: #4493f8 }" > plot
  print ".other { fill: #656c76 } .grid { stroke: #3d444d } .spread { stroke: #f0f6fc } }" > plot
  print "</style>" > plot
  for (tick = from; tick <= to; tick *= 10) {
    printf "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"22\" y2=\"%d\"/>\n", x(tick), x(tick), height - 8 > plot
    printf "<text class=\"small\" x=\"%.1f\" y=\"16\" text-anchor=\"middle\">%g s</text>\n", x(tick), tick / 1000000 > plot
  }
  y = 28
  for (row = 1; row <= rows; row++) {
    printf "<text class=\"row\" x=\"8\" y=\"%d\">%s</text>\n", y + 14, escaped(title[row]) > plot
    y += 20
    for (i = 1; i <= count[row]; i++) {
      tool = tools[row, i]
      end = x(median[row, tool])
      printf "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", left - 8, y + 13, escaped(tool) > plot
      printf "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"/>\n", \
        tool == "labctl" ? "labctl" : "other", left, y + 3, (end > left ? end - left : 1), step - 5 > plot
      printf "<line class=\"spread\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", \
        x(least[row, tool]), x(most[row, tool]), y + 9.5, y + 9.5 > plot
      printf "<text class=\"small\" x=\"%.1f\" y=\"%d\">%s</text>\n", x(most[row, tool]) + 6, y + 13, seconds(median[row, tool]) > plot
      y += step
    }
    y += 10
  }
  print "</svg>" > plot
}
