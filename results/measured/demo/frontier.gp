# Drawn by: gnuplot -e "FORMAT='svg'" frontier.gp   (svg, png or pdf), in this folder
BASE = "frontier"
DATA = "frontier.tsv"
if (!exists("FORMAT")) FORMAT = "svg"
HOVER = exists("HOVER") ? HOVER : 0
set encoding utf8
set datafile separator "\t"
if (!exists("STREAM")) set output BASE.".".FORMAT
set border 3 lw 1 lc rgb "#444444"
set tics nomirror out scale 0.5 textcolor rgb "#222222"
set grid ytics lt 1 lw 0.6 lc rgb "#E6E6E6" back
set tmargin 4
set bmargin 5.2
set key at graph 1.03,1.0 left top vertical maxcols 1 reverse Left samplen 1.4 spacing 1.3 nobox noenhanced
set logscale x 2
if (FORMAT eq "svg") {
  set terminal svg size 774,470 dynamic enhanced font "DejaVu Sans,12" linewidth 1 rounded background rgb "white"
  PS = 0.5
}
if (FORMAT eq "png") {
  set terminal pngcairo size 1681,1020 enhanced font "DejaVu Sans,11" fontscale 2.0 linewidth 2.2 rounded background rgb "white"
  PS = 1.9
}
if (FORMAT eq "pdf") {
  set terminal pdfcairo size 5.605in,3.400in enhanced color font "DejaVu Sans,8" linewidth 1.3 rounded
  PS = 0.42
}
set xrange [401.70705812313645:167711.78558517803]
set yrange [-0.02:1.03]
set rmargin 22
set ytics 0.2
set format y "%.1f"
set xtics ()
set xtics add ("512" 512)
set xtics add ("1 Ki" 1024)
set xtics add ("2 Ki" 2048)
set xtics add ("4 Ki" 4096)
set xtics add ("8 Ki" 8192)
set xtics add ("16 Ki" 16384)
set xtics add ("32 Ki" 32768)
set xtics add ("64 Ki" 65536)
set xtics add ("128 Ki" 131072)
set label 1 "demo" at graph 0,graph 1 offset 0,2.3 left noenhanced font "DejaVu Sans:Bold"
set label 2 "test data: mqar" at graph 0,graph 1 offset 0,1.0 left noenhanced tc rgb "#555555"
set label 3 "12 runs, 1 seed a point, 0 diverged" at screen 0.012,screen 0 offset 0,0.8 left noenhanced tc rgb "#777777" font ",".(FORMAT eq "svg" ? "10" : FORMAT eq "png" ? "9" : "6.7")
set xlabel "State size (bytes, measured at length 256)" noenhanced offset 0,0.3
set ylabel "Test accuracy" noenhanced
TEXTS = HOVER ? ', DATA index 3 u 1:2:6 w labels hypertext point pt 7 ps 1.4 lc rgb "#ff000000" notitle, DATA index 5 u 1:2:6 w labels hypertext point pt 7 ps 1.4 lc rgb "#ff000000" notitle, DATA index 7 u 1:2:6 w labels hypertext point pt 7 ps 1.4 lc rgb "#ff000000" notitle, DATA index 9 u 1:2:6 w labels hypertext point pt 7 ps 1.4 lc rgb "#ff000000" notitle, DATA index 11 u 1:2:6 w labels hypertext point pt 7 ps 1.4 lc rgb "#ff000000" notitle, DATA index 13 u 1:2:6 w labels hypertext point pt 7 ps 1.4 lc rgb "#ff000000" notitle' : ''
plot DATA index 0 u 1:2 w steps lw 5 lc rgb "#F0D9A8" t 'Pareto frontier', \
  DATA index 1 u 1:2 w lines lw 1 dt 2 lc rgb "#888888" t 'chance', \
  DATA index 2 u 1:2 w lines lw 1.6 dt 1 lc rgb "#000000" notitle, \
  DATA index 4 u 1:2 w lines lw 1.6 dt 1 lc rgb "#0072B2" notitle, \
  DATA index 6 u 1:2 w lines lw 1.6 dt 1 lc rgb "#D55E00" notitle, \
  DATA index 8 u 1:2 w lines lw 1.6 dt 1 lc rgb "#009E73" notitle, \
  DATA index 10 u 1:2 w lines lw 1.6 dt 1 lc rgb "#CC79A7" notitle, \
  DATA index 12 u 1:2 w lines lw 1.6 dt 1 lc rgb "#56B4E9" notitle, \
  DATA index 3 u 1:2 w points pt 7 ps PS lc rgb "#000000" notitle, \
  DATA index 5 u 1:2 w points pt 5 ps PS lc rgb "#0072B2" notitle, \
  DATA index 7 u 1:2 w points pt 9 ps PS lc rgb "#D55E00" notitle, \
  DATA index 9 u 1:2 w points pt 13 ps PS lc rgb "#009E73" notitle, \
  DATA index 11 u 1:2 w points pt 11 ps PS lc rgb "#CC79A7" notitle, \
  DATA index 13 u 1:2 w points pt 15 ps PS lc rgb "#56B4E9" notitle, \
  keyentry w linespoints lw 1.6 dt 1 pt 7 ps PS lc rgb "#000000" t "attention", \
  keyentry w linespoints lw 1.6 dt 1 pt 5 ps PS lc rgb "#0072B2" t "base\137conv", \
  keyentry w linespoints lw 1.6 dt 1 pt 9 ps PS lc rgb "#D55E00" t "based", \
  keyentry w linespoints lw 1.6 dt 1 pt 13 ps PS lc rgb "#009E73" t "identity", \
  keyentry w linespoints lw 1.6 dt 1 pt 11 ps PS lc rgb "#CC79A7" t "mamba", \
  keyentry w linespoints lw 1.6 dt 1 pt 15 ps PS lc rgb "#56B4E9" t "sliding window" @TEXTS
