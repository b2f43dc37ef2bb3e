#!/bin/sh
# Before the first start: an account for the wiki's owner, and who may read and write. Without them
# whoever came first would own it.
set -eu

conf=/storage/conf
if [ ! -e "$conf/local.php" ] && [ ! -e "$conf/users.auth.php" ]; then
    mkdir -p "$conf"
    umask 077
    hash=$(php -r 'echo password_hash(trim(file_get_contents("/run/secrets/admin_password")), PASSWORD_BCRYPT);')
    printf 'admin:%s:Administrator:%s:admin,user\n' "$hash" "$ADMIN_MAIL" > "$conf/users.auth.php"
    # 0 is nothing, 1 is read; 8 is upload, which includes writing pages.
    if [ "$PUBLIC" = true ]; then readers=1; else readers=0; fi
    printf '*\t@ALL\t%s\n*\t@user\t8\n' "$readers" > "$conf/acl.auth.php"
    php -r '
        $settings = ["title" => getenv("TITLE"), "useacl" => 1, "superuser" => "@admin", "disableactions" => "register"];
        $text = "<?php\n";
        foreach ($settings as $name => $value) {
            $text .= "\$conf[" . var_export($name, true) . "] = " . var_export($value, true) . ";\n";
        }
        file_put_contents("/storage/conf/local.php", $text);
    '
fi
exec "$@"
