<?php
// Asks PHP-FPM, in its own protocol, whether it answers. The first argument is another address than its own.
$record = static fn (int $type, string $content) => pack('CCnnCx', 1, $type, 1, strlen($content), 0) . $content;
$parameters = '';
foreach (['REQUEST_METHOD' => 'GET', 'SCRIPT_NAME' => '/ping', 'SCRIPT_FILENAME' => '/ping'] as $name => $value) {
    $parameters .= chr(strlen($name)) . chr(strlen($value)) . $name . $value;
}
$stream = @stream_socket_client('tcp://' . ($argv[1] ?? '127.0.0.1:9000'), $code, $message, 3);
if (!$stream) {
    exit(1);
}
stream_set_timeout($stream, 5);
// Begin (as who answers, then close), parameters, their end, an empty body.
fwrite($stream, $record(1, pack('nCx5', 1, 0)) . $record(4, $parameters) . $record(4, '') . $record(5, ''));
exit(str_contains((string) stream_get_contents($stream), "\r\n\r\npong") ? 0 : 1);
