<?php
// PrestaShop's installer for the command line, its arguments given here: as those of a program,
// passwords could be seen by others.
$secret = static fn ($name) => trim(file_get_contents((getenv('SECRETS') ?: '/run/secrets') . "/$name"));
$folder = (getenv('SHOP') ?: '/var/www/html') . '/install';
$argv = [
    'index_cli.php',
    '--domain=' . getenv('DOMAIN'),
    '--ssl=1',
    '--db_server=' . getenv('DB_SERVER'),
    '--db_name=prestashop',
    '--db_user=prestashop',
    '--db_password=' . $secret('db_password'),
    '--prefix=ps_',
    '--name=' . getenv('SHOP_NAME'),
    '--country=' . getenv('COUNTRY'),
    '--language=' . getenv('LANGUAGE'),
    '--firstname=Shop',
    '--lastname=Owner',
    '--email=' . getenv('CONTACT'),
    '--password=' . $secret('admin_password'),
    '--newsletter=0',
    '--send_email=0',
];
$argc = count($argv);
$_SERVER['argv'] = $argv;
$_SERVER['argc'] = $argc;
require "$folder/index_cli.php";
