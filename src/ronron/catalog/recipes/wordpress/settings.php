<?php
// Read by wp-config.php before WordPress itself is loaded: WORDPRESS_CONFIG_EXTRA.
define('WP_HOME', 'https://' . getenv('DOMAIN'));
define('WP_SITEURL', WP_HOME);
define('FORCE_SSL_ADMIN', true);
// Who steals an administrator's password shall not write programs from the browser as well.
define('DISALLOW_FILE_EDIT', true);

// The image has no mail program. Filters may be set before WordPress is loaded, in this form:
// WP_Hook::build_preinitialized_hooks.
if (getenv('MAIL_HOST')) {
    $GLOBALS['wp_filter']['phpmailer_init'][10]['ronron'] = [
        'accepted_args' => 1,
        'function' => static function ($mailer) {
            $mailer->isSMTP();
            $mailer->Host = getenv('MAIL_HOST');
            $mailer->Port = (int) getenv('MAIL_PORT');
            // By these names PHPMailer knows them; without one it would try STARTTLS by itself.
            $mailer->SMTPSecure = ['starttls' => 'tls', 'tls' => 'ssl'][getenv('MAIL_SECURITY')] ?? '';
            $mailer->SMTPAutoTLS = false;
            $mailer->SMTPAuth = (bool) getenv('MAIL_USER');
            if ($mailer->SMTPAuth) {
                $mailer->Username = getenv('MAIL_USER');
                $mailer->Password = trim(file_get_contents('/run/secrets/mail_password'));
            }
        },
    ];
}
if (getenv('MAIL_FROM')) {
    $GLOBALS['wp_filter']['wp_mail_from'][10]['ronron'] = [
        'accepted_args' => 1,
        'function' => static function ($sender) {
            return getenv('MAIL_FROM');
        },
    ];
}
