class Podcov < Formula
  desc "Collect Go code coverage from programs running in Kubernetes"
  homepage "@HOMEPAGE@"
  version "@VERSION@"
  license "Apache-2.0"

@PLATFORMS@

  def install
    bin.install Dir["bin/*"]
    man1.install Dir["share/man/man1/*"]
    bash_completion.install "share/bash-completion/completions/podcov"
    zsh_completion.install "share/zsh/site-functions/_podcov"
    fish_completion.install "share/fish/vendor_completions.d/podcov.fish"
    doc.install Dir["share/doc/podcov/*"]
  end

  test do
    assert_equal "podcov #{version}", shell_output("#{bin}/podcov --version").strip
    assert_equal "podcov-collect #{version}", shell_output("#{bin}/podcov-collect --version").strip
  end
end
