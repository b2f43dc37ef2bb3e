<?php
// Healthy is a wiki that can write its pages.
if (!is_writable('/storage/data/pages')) {
    http_response_code(500);
    echo "/storage/data/pages cannot be written\n";
    exit();
}
echo "ok\n";
