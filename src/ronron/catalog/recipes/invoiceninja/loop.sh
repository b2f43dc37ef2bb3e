#!/bin/bash
# loop.sh worker|scheduler: Invoice Ninja's work behind the scenes, again and again, and a sign of life.
# A job that has begun is finished.
trap 'kill $(jobs -p) 2> /dev/null; wait; exit 0' TERM
cd /var/www/html || exit 1
while :; do
    case $1 in
        # A worker keeps what it has loaded: a new one each minute takes what has changed.
        worker) php artisan queue:work --sleep=3 --tries=3 --max-time=60 --quiet & pause=2 ;;
        # What is due is said by the minute: none may be left out.
        scheduler) php artisan schedule:run --quiet & pause=$((60 - 10#$(date +%S))) ;;
        *) echo "loop.sh: $1: worker or scheduler" >&2; exit 2 ;;
    esac
    work=$!
    if [ "$1" = worker ]; then
        wait "$work" && touch /var/tmp/succeeded
        sleep "$pause" & wait $!
    else
        sleep "$pause" & wait $!
        # Who takes longer than a minute goes on beside the next.
        kill -0 "$work" 2> /dev/null || { wait "$work" && touch /var/tmp/succeeded; }
    fi
done
