#!/usr/bin/env bash
# Pictures, pages, films. test: timeout=300
source "${LOAM_SOURCE:?}/tests/programs/lib.sh" || exit 1
need gs dot ffmpeg

cat >page.ps <<'END'
%!PS
/Helvetica findfont 20 scalefont setfont
1 1 60 { /i exch def newpath i 5 mul i 7 mul moveto i 200 lt { (line of text) show } if
  i 3 mul 300 i 4 mul 0 360 arc i 60 div setgray stroke } for showpage
END
same gs gs -q -dSAFER -dBATCH -dNOPAUSE -sDEVICE=png16m -r100 -sOutputFile=- page.ps
{ echo 'digraph g {'; for i in $(seq 1 150); do echo "n$((i * 7 % 50)) -> n$((i * 11 % 50));"; done; echo '}'; } >graph.dot
same dot dot -Tplain graph.dot
same ffmpeg ffmpeg -v error -f lavfi -i testsrc=duration=2:size=320x240:rate=10 -threads 2 -f framemd5 -
magick=$(command -v convert-im6.q16 || true)
if [ -n "$magick" ]; then
    same imagemagick "$magick" -size 300x300 plasma:red-blue -seed 5 -blur 0x3 -colorspace gray -threshold 50% \
        -format '%w %h %[type]' info:
fi
