#!/usr/bin/env bash
# Every public header stands alone, as C11 and as C++17, without a warning.
set -euo pipefail
for header in "$LOAM_SOURCE"/include/loam/*.h; do
    name=$(basename "$header")
    for language in "c -std=c11" "c++ -std=c++17"; do
        # shellcheck disable=SC2086 # the language and its standard
        printf '#include <loam/%s>\n#include <loam/%s>\n' "$name" "$name" |
            "${CC:-gcc}" -x $language -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I"$LOAM_SOURCE/include" - ||
            { echo "<loam/$name> as $language"; exit 1; }
    done
done
