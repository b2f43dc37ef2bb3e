<?php
// What the stack says, written into Joomla's configuration before each start: the password of the
// database and the mail relay. Everything else stays as it was set in Joomla. The first argument
// is another folder than Joomla's, the second another than the secrets'.
$file = ($argv[1] ?? '/var/www/html') . '/configuration.php';
$secrets = $argv[2] ?? '/run/secrets';
if (!is_file($file)) {
    exit(0); // Joomla is not set up.
}
require $file;
$settings = get_object_vars(new JConfig());
$before = $settings;
$settings['password'] = trim(file_get_contents("$secrets/db_password"));
if (getenv('MAIL_HOST')) {
    $settings['mailonline'] = true;
    $settings['mailer'] = 'smtp';
    $settings['smtphost'] = getenv('MAIL_HOST');
    $settings['smtpport'] = (int) getenv('MAIL_PORT');
    // By these names PHPMailer knows them.
    $settings['smtpsecure'] = ['starttls' => 'tls', 'tls' => 'ssl', 'none' => 'none'][getenv('MAIL_SECURITY')];
    $settings['smtpauth'] = (bool) getenv('MAIL_USER');
    $settings['smtpuser'] = (string) getenv('MAIL_USER');
    $settings['smtppass'] = getenv('MAIL_USER') ? trim(file_get_contents("$secrets/mail_password")) : '';
    if (getenv('MAIL_FROM')) {
        $settings['mailfrom'] = getenv('MAIL_FROM');
    }
}
if ($settings === $before) {
    exit(0);
}
$text = "<?php\nclass JConfig {\n";
foreach ($settings as $name => $value) {
    $text .= "\tpublic \$$name = " . var_export($value, true) . ";\n";
}
// Whole or not at all: a half would be a site that is not set up, for everybody to set up.
umask(0077);
if (file_put_contents("$file.new", "$text}\n") === false || !rename("$file.new", $file)) {
    fwrite(STDERR, "settings.php: cannot write $file\n");
    exit(1);
}
