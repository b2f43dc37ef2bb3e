<?php
// What the stack says, written before each start: the password of the database into PrestaShop's
// parameters, the mail relay into its settings. Everything else stays as it was set in PrestaShop.
$secret = static fn ($name) => trim(file_get_contents((getenv('SECRETS') ?: '/run/secrets') . "/$name"));
$file = (getenv('SHOP') ?: '/var/www/html') . '/app/config/parameters.php';
$content = require $file;
if ($content['parameters']['database_password'] !== $secret('db_password')) {
    $content['parameters']['database_password'] = $secret('db_password');
    umask(0077);
    $text = '<?php return ' . var_export($content, true) . ";\n";
    if (file_put_contents("$file.new", $text) === false || !rename("$file.new", $file)) {
        fwrite(STDERR, "settings.php: cannot write $file\n");
        exit(1);
    }
}

$settings = [];
if (getenv('MAIL_HOST')) {
    $user = (string) getenv('MAIL_USER');
    $settings = [
        'PS_MAIL_METHOD' => '2', // by SMTP
        'PS_MAIL_SERVER' => getenv('MAIL_HOST'),
        'PS_MAIL_SMTP_PORT' => getenv('MAIL_PORT'),
        'PS_MAIL_SMTP_ENCRYPTION' => ['starttls' => 'tls', 'tls' => 'ssl', 'none' => 'off'][getenv('MAIL_SECURITY')],
        'PS_MAIL_USER' => $user,
        'PS_MAIL_PASSWD' => $user === '' ? '' : $secret('mail_password'),
    ];
    if (getenv('MAIL_FROM')) {
        $settings['PS_SHOP_EMAIL'] = getenv('MAIL_FROM');
    }
}
if (!$settings) {
    exit(0);
}
try {
    $database = new PDO(
        getenv('DATABASE') ?: 'mysql:host=' . getenv('DB_SERVER') . ';dbname=prestashop;charset=utf8mb4',
        'prestashop',
        $secret('db_password'),
        [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]
    );
    $database->beginTransaction();
    $remove = $database->prepare('DELETE FROM ps_configuration WHERE name = ? AND id_shop IS NULL AND id_shop_group IS NULL');
    $add = $database->prepare(
        'INSERT INTO ps_configuration (name, value, date_add, date_upd) VALUES (?, ?, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)'
    );
    foreach ($settings as $name => $value) {
        $remove->execute([$name]);
        $add->execute([$name, $value]);
    }
    $database->commit();
} catch (PDOException $error) {
    // Its own words could quote what it was told.
    fwrite(STDERR, 'settings.php: the database refuses the mail settings: error ' . $error->getCode() . "\n");
    exit(1);
}
