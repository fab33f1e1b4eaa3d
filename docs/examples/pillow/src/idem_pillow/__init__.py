"""WebP, AVIF and JPEG 2000 as codecs of idem, by Pillow."""
