#!/bin/bash
# Deletes indices, one for each class and day (ronron-CLASS-2026.11.27), that are older than the
# class may get. RETENTION has CLASS=PERIOD, separated by spaces.
set -euo pipefail

days() {
    local number=${1%[dwy]}
    case $1 in
        *w) echo $((number * 7)) ;;
        *y) echo $((number * 365)) ;;
        *) echo "$number" ;;
    esac
}

while true; do
    for one in $RETENTION; do
        class=${one%%=*}
        oldest=$(date --utc --date "-$(days "${one#*=}") days" +%Y.%m.%d)
        indices=$(curl --fail --silent "http://search:9200/_cat/indices/ronron-$class-*?h=index" || true)
        for index in $indices; do
            if [[ $index =~ ^ronron-$class-([0-9]{4}\.[0-9]{2}\.[0-9]{2})$ && ${BASH_REMATCH[1]} < $oldest ]]; then
                echo "deleting $index"
                curl --fail --silent --output /dev/null --request DELETE "http://search:9200/$index" || true
            fi
        done
    done
    sleep 600
done
