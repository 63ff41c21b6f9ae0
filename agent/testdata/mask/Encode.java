// Writes what Java's encoders make of each value, alone and in a text. See encoded.md.
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.HexFormat;

class Encode {
    static String hex(String text) {
        return HexFormat.of().formatHex(text.getBytes(StandardCharsets.UTF_8));
    }

    static void line(String by, String value, String encoded, String text) {
        System.out.println("Java " + by + "\t" + hex(value) + "\t" + hex(encoded) + "\t" + hex(text));
    }

    public static void main(String[] words) throws Exception {
        for (String value : Files.readAllLines(Path.of(words[0]))) {
            line("URLEncoder", value, URLEncoder.encode(value, StandardCharsets.UTF_8),
                URLEncoder.encode("user=" + value + ", next", StandardCharsets.UTF_8));
            for (String before : new String[] {"", "u", "me", "user:"}) {
                byte[] text = (before + value + "@").getBytes(StandardCharsets.UTF_8);
                line("Base64", value, "", Base64.getEncoder().encodeToString(text));
                line("Base64 URL", value, "", Base64.getUrlEncoder().withoutPadding().encodeToString(text));
            }
        }
    }
}
