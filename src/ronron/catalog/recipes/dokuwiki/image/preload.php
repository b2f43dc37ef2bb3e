<?php
// Defaults are the image's, in conf.core; what is changed is in /storage.
define('DOKU_CONF', '/storage/conf/');
$core = '/var/www/html/conf.core/';
$config_cascade = [
    'main' => [
        'default' => [$core . 'dokuwiki.php', $core . 'docker.php'],
        'local' => [DOKU_CONF . 'local.php'],
        'protected' => [DOKU_CONF . 'local.protected.php'],
    ],
    'license' => ['default' => [$core . 'license.php'], 'local' => [DOKU_CONF . 'license.local.php']],
    'mediameta' => ['default' => [$core . 'mediameta.php'], 'local' => [DOKU_CONF . 'mediameta.local.php']],
    'manifest' => ['default' => [$core . 'manifest.json'], 'local' => [DOKU_CONF . 'manifest.local.json']],
    'plugins' => [
        'default' => [$core . 'plugins.php'],
        'local' => [DOKU_CONF . 'plugins.local.php'],
        'protected' => [$core . 'plugins.required.php', DOKU_CONF . 'plugins.protected.php'],
    ],
];
foreach (['acronyms', 'entities', 'interwiki', 'mime', 'scheme', 'smileys', 'wordblock'] as $name) {
    $config_cascade[$name] = ['default' => ["$core$name.conf"], 'local' => [DOKU_CONF . "$name.local.conf"]];
}
unset($core, $name);
